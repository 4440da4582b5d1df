//! Device logins in progress (RFC 8628).
//!
//! 1. A device asks for codes, not too often ([`rates`]) nor for too many, and as long as they have to be ([`live`]):
//!    [`intake`] writes *pending* grants, many at once ([`intake::insert`]).
//! 2. A person types the user code, and pays for a guess until it proves to be one ([`guessing`]): [`store::claim`] makes it
//!    the property of one browser.
//! 3. The person signs in, proves a second factor ([`store::prove_mfa`]) and decides, told how far the device is
//!    ([`nearness`]) and whether many others were asked from there ([`phishing`]): [`store::approve`] or
//!    [`store::deny`], which tell the waiting polls ([`waiting`]).
//! 4. The device polls ([`grant::Grant::answer`]) at its own pace ([`pacing`]) and one poll redeems the grant.
//! 5. The person says that it wasn't them: [`recall`] denies what has not been redeemed.
//! 6. Its time runs out ([`expiry`]), and after some days it is deleted ([`over`]).

pub mod codes;
pub mod expiry;
pub mod grant;
pub mod guessing;
pub mod in_progress;
pub mod intake;
pub mod live;
pub mod lookup;
pub mod name;
pub mod nearness;
pub mod over;
pub mod pacing;
pub mod phishing;
pub mod rates;
pub mod recall;
pub mod store;
pub mod verification;
pub mod waiting;
