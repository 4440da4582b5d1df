//! A server that has nothing to do: what it takes, and how soon it is there.

use std::time::Duration;

use super::cpu::memory;
use super::report::{Row, median, time};
use super::scene::Scene;

/// Starts that are timed.
const STARTS: usize = 7;

/// Measures.
pub async fn measure(scene: &mut Scene) {
    let database = scene.fresh("idle").await;
    let (mut ready, mut resident) = (Vec::new(), Vec::new());
    for start in 0..STARTS {
        let server = scene.installation.serve(&database).await;
        ready.push(server.ready_after.as_nanos() as f64);
        if start == 0 {
            // Housekeeping and all that runs beside the requests have had their first turn.
            tokio::time::sleep(Duration::from_secs(if scene.settings.quick { 5 } else { 25 })).await;
            resident.push(memory(server.pid()));
        }
    }
    let (resident, ready) = (median(resident), median(ready));
    let memory = format!("{:.1} MB", resident / 1e6);
    scene.report.rows.extend([
        Row::alone("resident memory, idle", memory, "< 40 MB", Some(resident < 40e6)),
        Row::alone("start on an existing database, to the first answer", time(ready), "< 200 ms", Some(ready < 2e8)),
    ]);
    scene.cluster.drop("idle").await;
}
