//! The transcript tier: conversations as SDKs and tools have them, readable and golden. A file holds what one of them
//! sends and what the emulator answers over real TLS. `REWRITE_GOLDEN=1` writes the answers anew; the diff is reviewed.
//!
//! In `http` are requests to the REST API, byte for byte (contract/rest.md 0, 4.2, 8), in `amqp` frames ([`amqp`]).
//!
//! ```text
//! # A remark, up to the next line that is none.
//! > GET /devices/d1?api-version=2021-04-12
//! > Authorization: <token iothubowner>
//! < 404
//! < content-type: application/json; charset=utf-8
//! <
//! < {"Message":"ErrorCode:DeviceNotFound;..","ExceptionMessage":".."}
//! ```
//!
//! `Host`, `Connection: close` and, with a body, `Content-Length` are added unless they are written. Of the answer
//! all headers are shown but `date`, `content-length` and `connection`. What differs between runs has a name in angle
//! brackets, the same value the same name; a request may use the names of answers before it.
//!
//! - [`script`]: a file as its exchanges, and back.
//! - [`amqp`]: conversations over AMQP, with [`frames`], [`notation`] for values and [`schema`] for their names.
//! - [`values`]: the names of what differs between runs.
//! - [`layout`]: a JSON body in lines.

#[path = "transcripts/amqp.rs"]
mod amqp;
#[path = "transcripts/frames.rs"]
mod frames;
#[expect(
    dead_code,
    unused_imports,
    reason = "the harness is the protocol tier's, this one has clients of its own"
)]
mod harness;
#[path = "transcripts/layout.rs"]
mod layout;
#[path = "transcripts/notation.rs"]
mod notation;
#[path = "transcripts/schema.rs"]
mod schema;
#[path = "transcripts/script.rs"]
mod script;
#[path = "transcripts/values.rs"]
mod values;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hub::time::{Clock as _, ManualClock, SystemClock, Timestamp};
use iothub_emulator::app::Surroundings;
use iothub_emulator::config::Options;

use crate::harness::http::{self, Answer};
use crate::harness::{Emulator, Port};
use crate::script::{Exchange, Part, Script};
use crate::values::Values;

/// Set to write the answers anew.
const REWRITE: &str = "REWRITE_GOLDEN";
/// Hidden of an answer: HTTP's own, and nothing an SDK reads.
const UNSHOWN: &[&str] = &["connection", "content-length", "date"];

#[tokio::test]
async fn every_conversation_over_http_goes_as_written() {
    go_as_written("http", replay).await;
}

#[tokio::test]
async fn every_conversation_over_amqp_goes_as_written() {
    go_as_written("amqp", async |script| amqp::replay(script, emulator().await).await).await;
}

async fn go_as_written(folder: &str, replay: impl AsyncFn(Script) -> Script) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("transcripts").join(folder);
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .expect("the folder is in the repository")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "there are transcripts");
    let mut findings = Vec::new();
    for path in paths {
        let written = std::fs::read_to_string(&path).expect("transcripts are text");
        let happened = replay(Script::parse(&written)).await.to_string();
        if std::env::var_os(REWRITE).is_some() {
            std::fs::write(&path, &happened).expect("the repository is ours");
        } else if written != happened {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            findings.push(format!("{name}: {}", first_difference(&written, &happened)));
        }
    }
    assert!(findings.is_empty(), "{}\n{REWRITE}=1 writes the answers anew", findings.join("\n"));
}

/// The same requests to a fresh emulator, with the answers it gives now.
async fn replay(script: Script) -> Script {
    let emulator = emulator().await;
    let mut values = Values::new();
    let mut parts = Vec::new();
    for part in script.parts {
        parts.push(match part {
            Part::Remark(text) => Part::Remark(text),
            Part::Exchange(exchange) => {
                let request =
                    exchange.on_the_wire(|line| values.fill(line, |policy| emulator.policy_token(policy)));
                values.ask(&request);
                let answer = http::exchange(emulator.io(Port::Https).await, request.as_bytes()).await;
                Part::Exchange(Exchange { answer: shown(&answer, &mut values), ..exchange })
            }
        });
    }
    Script { parts }
}

/// On a clock that stands still, at a moment whose text has all of its digits.
async fn emulator() -> Emulator {
    let now =
        Timestamp::from_unix_secs(SystemClock.now().unix_secs()).plus(Duration::from_nanos(123_456_700));
    let surroundings = Surroundings { clock: Arc::new(ManualClock::at(now)), ..Surroundings::default() };
    Emulator::start_with(Options::default(), surroundings).await
}

fn shown(answer: &Answer, values: &mut Values) -> Vec<String> {
    answer.header("etag").into_iter().for_each(|etag| values.learn_etag(etag));
    let mut lines = vec![answer.status.to_string()];
    let headers = answer.headers.iter().filter(|(name, _)| !UNSHOWN.contains(&name.as_str()));
    lines.extend(headers.map(|(name, value)| format!("{name}: {value}")));
    let body = std::str::from_utf8(&answer.body).expect("answers are UTF-8");
    if !body.is_empty() {
        lines.push(String::new());
        match serde_json::from_str(body) {
            Ok(mut value) => {
                values.learn(&value);
                values.name_all(&mut value);
                lines.extend(layout::lines(&value));
            }
            Err(_) => lines.push(body.to_owned()),
        }
    }
    lines.iter().map(|line| values.name(line)).collect()
}

fn first_difference(written: &str, happened: &str) -> String {
    let differs = |(_, (a, b)): &(usize, (&str, &str))| a != b;
    let mut pairs =
        written.lines().chain(["(the end)"]).zip(happened.lines().chain(["(the end)"])).enumerate();
    match pairs.find(differs) {
        Some((index, (written, happened))) => {
            format!("line {}\n  written:  {written}\n  happened: {happened}", index + 1)
        }
        None => "the ends of lines differ".to_owned(),
    }
}
