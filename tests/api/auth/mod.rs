mod device;
mod token;
mod tokens;
mod waiting;
