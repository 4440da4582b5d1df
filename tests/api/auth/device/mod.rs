mod client;
mod code;
mod request;
mod verify;
