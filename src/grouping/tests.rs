//! A work that does what a test says, flight by flight.

use std::collections::HashMap;

use proptest::prelude::*;
use tokio::task::{JoinHandle, yield_now};

use super::*;

const LIMITS: Limits = Limits { flights: 2, together: 4, queue: 12, patience: Duration::from_secs(3) };

/// An item that no group can have in it.
const BAD: u32 = 13;

/// How a flight ends.
#[derive(Clone, Copy, Debug)]
enum End {
    /// As well as it can: a group with a bad item fails because of it.
    Well,
    /// For a reason that isn't an item's.
    Ill,
    Panic,
    /// With outcomes for more than there were.
    TooMuch,
}

/// A flight that is under way.
struct UnderWay {
    items: Vec<u32>,
    end: oneshot::Sender<End>,
}

#[derive(Clone, Default)]
struct Airport(Arc<Mutex<Vec<UnderWay>>>);

impl Airport {
    fn under_way(&self) -> MutexGuard<'_, Vec<UnderWay>> {
        self.0.lock().unwrap()
    }

    /// Ends the flight that is under way for the longest.
    async fn end(&self, end: End) -> Vec<u32> {
        let flight = self.under_way().remove(0);
        let _given_up = flight.end.send(end);
        settle().await;
        flight.items
    }

    fn items(&self) -> Vec<Vec<u32>> {
        self.under_way().iter().map(|flight| flight.items.clone()).collect()
    }
}

impl Work for Airport {
    type Item = u32;
    type Outcome = u32;
    type Error = &'static str;

    async fn perform(&self, items: &[u32]) -> Result<Vec<u32>, &'static str> {
        let (end, ended) = oneshot::channel();
        self.under_way().push(UnderWay { items: items.to_vec(), end });
        match ended.await.unwrap() {
            End::Well if items.contains(&BAD) => Err("a bad item"),
            End::Well => Ok(items.iter().map(|item| item * 10).collect()),
            End::Ill => Err("bad weather"),
            // Without a word in the test's output.
            End::Panic => std::panic::resume_unwind(Box::new("as the test wants it")),
            End::TooMuch => Ok(vec![0; items.len() + 1]),
        }
    }

    fn may_be_of_one(error: &&'static str) -> bool {
        *error == "a bad item"
    }
}

type Waiting = JoinHandle<Result<u32, Undone<&'static str>>>;

fn airport() -> (Airport, Groups<Airport>) {
    let airport = Airport::default();
    let groups = Groups::new(airport.clone(), LIMITS);
    (airport, groups)
}

/// Lets everything happen that can.
async fn settle() {
    for _ in 0..50 {
        yield_now().await;
    }
}

async fn submit(groups: &Groups<Airport>, item: u32) -> Waiting {
    let groups = groups.clone();
    let waiting = tokio::spawn(async move { groups.submit(item).await });
    settle().await;
    waiting
}

async fn submit_all(groups: &Groups<Airport>, items: impl IntoIterator<Item = u32>) -> Vec<Waiting> {
    let mut waiting = Vec::new();
    for item in items {
        waiting.push(submit(groups, item).await);
    }
    waiting
}

async fn outcomes(waiting: Vec<Waiting>) -> Vec<Result<u32, Undone<&'static str>>> {
    let mut outcomes = Vec::new();
    for waiting in waiting {
        outcomes.push(waiting.await.unwrap());
    }
    outcomes
}

fn is_empty(groups: &Groups<Airport>) -> bool {
    let line = groups.line();
    line.queue.is_empty() && line.under_way == 0 && !line.boarding
}

#[tokio::test(start_paused = true)]
async fn the_first_goes_at_once_and_those_who_come_meanwhile_go_together() {
    let (airport, groups) = airport();
    let waiting = submit_all(&groups, 0..8).await;
    assert_eq!(airport.items(), [vec![0], vec![1]]);
    airport.end(End::Well).await;
    assert_eq!(airport.items(), [vec![1], vec![2, 3, 4, 5]], "four at most");
    airport.end(End::Well).await;
    airport.end(End::Well).await;
    assert_eq!(airport.items(), [[6, 7]]);
    airport.end(End::Well).await;
    assert_eq!(outcomes(waiting).await, (0..8).map(|item| Ok(item * 10)).collect::<Vec<_>>());
    assert!(is_empty(&groups));
}

#[tokio::test(start_paused = true)]
async fn who_leaves_before_the_flight_does_not_go_and_who_leaves_later_ends_nothing() {
    let (airport, groups) = airport();
    let waiting = submit_all(&groups, 0..5).await;
    waiting[0].abort();
    waiting[3].abort();
    settle().await;
    assert_eq!(airport.end(End::Well).await, [0], "it was under way");
    airport.end(End::Well).await;
    assert_eq!(airport.end(End::Well).await, [2, 4]);
    assert_eq!(waiting.into_iter().nth(2).unwrap().await.unwrap(), Ok(20));
    assert!(is_empty(&groups));
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_everybodys_unless_one_item_is_at_fault() {
    let (airport, groups) = airport();
    let waiting = submit_all(&groups, [0, 1, 11, 12, BAD, 14]).await;
    airport.end(End::Ill).await;
    airport.end(End::Well).await;
    assert_eq!(airport.end(End::Well).await, [11, 12, BAD, 14]);
    let tried = [airport.end(End::Well).await, airport.end(End::Well).await];
    assert_eq!(tried, [vec![11, 12], vec![BAD, 14]]);
    let tried = [airport.end(End::Well).await, airport.end(End::Well).await];
    assert_eq!(tried, [[BAD], [14]]);
    let expected =
        [Err(Undone::Failed("bad weather")), Ok(10), Ok(110), Ok(120), Err(Undone::Failed("a bad item")), Ok(140)];
    assert_eq!(outcomes(waiting).await, expected);
    assert!(is_empty(&groups));
}

#[tokio::test(start_paused = true)]
async fn a_flight_that_panics_or_confuses_its_passengers_is_told_to_them_and_to_nobody_else() {
    let (airport, groups) = airport();
    let waiting = submit_all(&groups, 0..3).await;
    airport.end(End::Panic).await;
    airport.end(End::TooMuch).await;
    airport.end(End::Well).await;
    assert_eq!(outcomes(waiting).await, [Err(Undone::Lost), Err(Undone::Lost), Ok(20)]);
    assert!(is_empty(&groups));
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_longer_than_is_said_and_more_than_may_queue_are_sent_away() {
    let (airport, groups) = airport();
    let start = Instant::now();
    let waiting = submit_all(&groups, 0..14).await;
    assert_eq!(groups.submit(14).await, Err(Undone::TooMany));
    assert_eq!(outcomes(waiting).await, vec![Err(Undone::TooLong); 14]);
    assert_eq!(start.elapsed().as_secs(), LIMITS.patience.as_secs());
    settle().await;
    assert!(is_empty(&groups), "flights that hang are given up");
    airport.under_way().clear();
    let waiting = submit(&groups, 20).await;
    airport.end(End::Well).await;
    assert_eq!(waiting.await.unwrap(), Ok(200));
}

#[test]
fn a_runtime_that_ends_strands_nobody_on_the_next_one() {
    let (airport, groups) = airport();
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let first = runtime();
    let _waiting = first.block_on(submit_all(&groups, 0..5));
    first.block_on(async {
        airport.under_way().clear();
        // Counted as under way, and never polled.
        drop(tokio::spawn({
            let groups = groups.clone();
            async move { groups.submit(5).await }
        }));
    });
    drop(first);
    assert!(is_empty(&groups));
    airport.under_way().clear();
    runtime().block_on(async {
        let waiting = submit(&groups, 6).await;
        airport.end(End::Well).await;
        assert_eq!(waiting.await.unwrap(), Ok(60));
    });
}

/// What happens next.
#[derive(Clone, Debug)]
enum Step {
    Submit(u32),
    /// Several come before anything else happens.
    Crowd(Vec<u32>),
    /// Somebody who waits leaves.
    Leave(prop::sample::Index),
    /// A flight that is under way ends.
    End(prop::sample::Index, End),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let end = prop_oneof![4 => Just(End::Well), 1 => Just(End::Ill), 1 => Just(End::Panic), 1 => Just(End::TooMuch)];
    prop_oneof![
        4 => (0..20_u32).prop_map(Step::Submit),
        1 => prop::collection::vec(0..20_u32, 2..8).prop_map(Step::Crowd),
        1 => any::<prop::sample::Index>().prop_map(Step::Leave),
        4 => (any::<prop::sample::Index>(), end).prop_map(|(which, end)| Step::End(which, end)),
        1 => (1..4_u64).prop_map(Step::Pass),
    ]
}

async fn walk(steps: Vec<Step>) {
    let (airport, groups) = airport();
    let mut waiting: HashMap<usize, (u32, Waiting)> = HashMap::new();
    let mut count = 0;
    let mut enter = |waiting: &mut HashMap<usize, (u32, Waiting)>, item| {
        let groups = groups.clone();
        waiting.insert(count, (item, tokio::spawn(async move { groups.submit(item).await })));
        count += 1;
    };
    for step in steps {
        match step {
            Step::Submit(item) => enter(&mut waiting, item),
            Step::Crowd(items) => items.into_iter().for_each(|item| enter(&mut waiting, item)),
            Step::Leave(who) if !waiting.is_empty() => {
                let mut present: Vec<usize> = waiting.keys().copied().collect();
                present.sort_unstable();
                waiting.remove(who.get(&present)).unwrap().1.abort();
            }
            Step::End(which, end) if !airport.under_way().is_empty() => {
                let mut under_way = airport.under_way();
                let which = which.index(under_way.len());
                let _given_up = under_way.remove(which).end.send(end);
            }
            Step::Pass(seconds) => time::advance(Duration::from_secs(seconds)).await,
            Step::Leave(_) | Step::End(..) => {}
        }
        settle().await;
        airport.under_way().retain(|flight| !flight.end.is_closed());
        let flying = airport.items();
        assert!(flying.len() <= LIMITS.flights, "{flying:?}");
        assert!(flying.iter().all(|items| (1..=LIMITS.together).contains(&items.len())), "{flying:?}");
        let mut done = Vec::new();
        for (number, (_, handle)) in &waiting {
            if handle.is_finished() {
                done.push(*number);
            }
        }
        for number in done {
            let (item, handle) = waiting.remove(&number).unwrap();
            if let Ok(outcome) = handle.await.unwrap() {
                assert_eq!((outcome, item == BAD), (item * 10, false));
            }
        }
        // Of a flight that goes on in halves, those of the other half wait aboard.
        let line = groups.line();
        let (under_way, queue) = (line.under_way, line.queue.len());
        drop(line);
        assert_eq!(under_way, flying.len());
        assert!(under_way == LIMITS.flights || queue == 0, "somebody queues for nothing");
        assert!(under_way > 0 || waiting.is_empty(), "somebody waits for nothing");
    }
    // Everybody is told something within their patience, and nothing is left behind.
    let by_then = Instant::now() + LIMITS.patience + Duration::from_millis(10);
    for (item, handle) in waiting.into_values() {
        let outcome = time::timeout_at(by_then, handle).await.expect("an answer").unwrap();
        assert!(matches!(outcome, Err(Undone::TooLong)), "{item}: {outcome:?}");
    }
    time::sleep(LIMITS.patience).await;
    settle().await;
    assert!(is_empty(&groups));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn whatever_happens_in_whatever_order_nobody_is_forgotten(steps in prop::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(walk(steps));
    }
}
