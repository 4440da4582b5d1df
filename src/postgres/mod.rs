//! PostgreSQL, the only database: the server Countersign runs itself when it is given none.

pub mod managed;
