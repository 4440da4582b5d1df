//! `POST /auth/token`

use axum::http::StatusCode;

use crate::support::{App, Browser, Device};

#[tokio::test]
async fn of_64_polls_at_once_of_an_approved_code_exactly_one_gets_tokens() {
    let app = App::acme().await;
    let device = Device::ask(&app, "read").await;
    Browser::new(&app).approve_code(&device.user_code).await;
    let polls = (0..64).map(|_| device.poll());
    let answers = futures_util::future::join_all(polls).await;
    let won = answers.iter().filter(|answer| answer.status == StatusCode::OK).count();
    assert_eq!(won, 1);
    for lost in answers.iter().filter(|answer| answer.status != StatusCode::OK) {
        assert_eq!((lost.status, lost.error().as_str()), (StatusCode::BAD_REQUEST, "invalid_grant"));
    }
}
