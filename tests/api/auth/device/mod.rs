mod client;
mod code;
mod limits;
mod request;
mod verify;
