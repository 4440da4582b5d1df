mod client;
mod code;
mod crowd;
mod limits;
mod request;
mod verify;
