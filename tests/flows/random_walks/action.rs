//! What can be done, and how it is drawn.

use proptest::prelude::{Just, Strategy, any, prop_oneof};

use crate::support::app::{ADA_PASSWORD, BOB_PASSWORD};

/// A tab of a browser. The tabs of one browser share its cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At {
    pub browser: usize,
    pub tab: usize,
}

/// How somebody signs in.
#[derive(Clone, Copy)]
pub enum Way {
    Password(&'static str),
    Provider(usize),
}

/// Who there is: address, way to sign in, and whether they have an authenticator, which they are asked for then.
pub struct Person {
    pub email: &'static str,
    pub way: Way,
    pub has_authenticator: bool,
}

pub const PEOPLE: [Person; 4] = [
    Person { email: "ada@acme.example", way: Way::Password(ADA_PASSWORD), has_authenticator: true },
    Person { email: "bob@acme.example", way: Way::Password(BOB_PASSWORD), has_authenticator: false },
    Person { email: "grace@acme.example", way: Way::Provider(0), has_authenticator: true },
    Person { email: "henry@acme.example", way: Way::Provider(1), has_authenticator: false },
];

pub const ADA: usize = 0;
pub const BOB: usize = 1;
pub const GRACE: usize = 2;
pub const HENRY: usize = 3;

/// The slugs of the providers.
pub const PROVIDERS: [&str; 2] = ["hub", "lab"];

pub const PAGES: [&str; 5] = ["/activate", "/activate/sign-in", "/activate/mfa", "/activate/confirm", "/activate/done"];

/// A decision that isn't the person's. The token is that of the page which the tab shows, unless said otherwise.
#[derive(Clone, Copy, Debug)]
pub enum Forgery {
    /// Everything right, by GET.
    Get,
    /// With the token of what another browser shows.
    TokenOfAnotherBrowser,
    /// Without a token.
    NoToken,
    /// Everything right, but the browser says that another site sent it.
    FromAnotherSite,
    /// Everything right, but the browser says another origin.
    FromAnotherOrigin,
}

/// What somebody does. Forms are sent with the token of the page that the tab shows, whatever page that is.
#[derive(Clone, Debug)]
pub enum Action {
    /// What the page asks for, as somebody would who wants to get on with a device.
    GoOn {
        at: At,
        person: usize,
        device: usize,
    },
    /// Types the code of a device, or one that is none.
    Enter {
        at: At,
        device: Option<usize>,
    },
    /// Follows the link of an organization's own page, which has the code in it.
    Follow {
        at: At,
        device: usize,
        provider: usize,
    },
    SignIn {
        at: At,
        person: usize,
        right: bool,
    },
    /// Leaves for a provider, and signs in there.
    Leave {
        at: At,
        provider: usize,
    },
    /// Comes back from one of the last trips, whoever made it and however often, to its provider's address or to another's.
    Return {
        at: At,
        ago: usize,
        to_its_own: bool,
    },
    /// Types what the authenticator of one of the people shows now, or nonsense.
    Prove {
        at: At,
        right: bool,
    },
    Decide {
        at: At,
        approve: bool,
        mine: bool,
    },
    Forge {
        at: At,
        how: Forgery,
    },
    SignOut {
        at: At,
    },
    Open {
        at: At,
        page: usize,
    },
    /// Shows an earlier page again, without asking the server: the "back" button.
    Back {
        at: At,
        steps: usize,
    },
    Pass {
        seconds: i64,
    },
    Poll {
        device: usize,
    },
}

pub fn action() -> impl Strategy<Value = Action> {
    // Mostly the first tab of the first browser, or walks get nowhere.
    let at = || {
        let of = |browser, tab| Just(At { browser, tab });
        prop_oneof![4 => of(0, 0), 2 => of(0, 1), 3 => of(1, 0), 1 => of(1, 1)]
    };
    let (person, device, provider) = (|| 0..PEOPLE.len(), || 0..2_usize, || 0..PROVIDERS.len());
    let forgery = prop_oneof![
        Just(Forgery::Get),
        Just(Forgery::TokenOfAnotherBrowser),
        Just(Forgery::NoToken),
        Just(Forgery::FromAnotherSite),
        Just(Forgery::FromAnotherOrigin),
    ];
    let seconds = prop_oneof![6 => Just(31_i64), 2 => Just(11), 1 => Just(600), 1 => Just(901)];
    prop_oneof![
        12 => (at(), person(), device()).prop_map(|(at, person, device)| Action::GoOn { at, person, device }),
        1 => (at(), device(), any::<bool>())
            .prop_map(|(at, device, right)| Action::Enter { at, device: right.then_some(device) }),
        1 => (at(), device(), provider()).prop_map(|(at, device, provider)| Action::Follow { at, device, provider }),
        1 => (at(), person(), any::<bool>()).prop_map(|(at, person, right)| Action::SignIn { at, person, right }),
        1 => (at(), provider()).prop_map(|(at, provider)| Action::Leave { at, provider }),
        3 => (at(), 0..3_usize, any::<bool>())
            .prop_map(|(at, ago, to_its_own)| Action::Return { at, ago, to_its_own }),
        1 => (at(), any::<bool>()).prop_map(|(at, right)| Action::Prove { at, right }),
        3 => (at(), any::<bool>(), any::<bool>())
            .prop_map(|(at, approve, mine)| Action::Decide { at, approve, mine }),
        2 => (at(), forgery).prop_map(|(at, how)| Action::Forge { at, how }),
        1 => at().prop_map(|at| Action::SignOut { at }),
        2 => (at(), 0..PAGES.len()).prop_map(|(at, page)| Action::Open { at, page }),
        2 => (at(), 1..4_usize).prop_map(|(at, steps)| Action::Back { at, steps }),
        1 => seconds.prop_map(|seconds| Action::Pass { seconds }),
        5 => device().prop_map(|device| Action::Poll { device }),
    ]
}
