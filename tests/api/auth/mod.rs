mod device;
mod interrupted;
mod token;
mod tokens;
mod waiting;
