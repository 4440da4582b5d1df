//! Random bytes, from outside so that a test can force a collision.

use std::fmt;
use std::sync::Arc;

type Fill = dyn Fn(&mut [u8]) + Send + Sync;

/// A source of unpredictable bytes. Cheap to clone.
#[derive(Clone)]
pub struct Random(Arc<Fill>);

impl Random {
    /// The operating system's generator.
    ///
    /// # Panics
    ///
    /// When the operating system gives no random bytes: nothing safe can be done without.
    #[must_use]
    pub fn system() -> Self {
        Self::from_fn(|bytes| {
            #[expect(clippy::expect_used, reason = "without randomness there is nothing safe left to do")]
            aws_lc_rs::rand::fill(bytes).expect("the operating system gives random bytes");
        })
    }

    /// A source that calls `fill` for every request.
    pub fn from_fn(fill: impl Fn(&mut [u8]) + Send + Sync + 'static) -> Self {
        Self(Arc::new(fill))
    }

    /// `N` fresh bytes.
    #[must_use]
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        (self.0)(&mut bytes);
        bytes
    }
}

impl fmt::Debug for Random {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Random")
    }
}
