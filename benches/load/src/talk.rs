//! The conversation with the process that started the program: a line in, a JSON object out.

use std::env;
use std::io::{self, BufRead, Write};
use std::process::ExitCode;
use std::time::Duration;

use crate::channel::{Address, Dialer};
use crate::dialogue::{Dialogue, Download, Echo, Http, Upload, Visit, WebSocket};
use crate::drive::{Amount, Lifetime, Load, Report};
use crate::options::{Options, USAGE};
use crate::pattern::Pattern;
use crate::serve::{Answers, Server};
use crate::wrong::{Result, Wrong};

pub(crate) fn main() -> ExitCode {
    match Options::parse(env::args().skip(1)).and_then(|options| run(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(wrong) => {
            // As an answer and not as a complaint: the process that waits for one reads it.
            let sentence = wrong.to_string().replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = answer(&format!(r#"{{"wrong": "{sentence}"}}"#));
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    match options.mode.as_str() {
        "serve-echo" => serve(Answers::Echo),
        "serve-http" => serve(Answers::http(options.text("body").unwrap_or_default())),
        _ => load(options),
    }
}

fn serve(answers: Answers) -> Result<()> {
    let server = Server::listen(answers)?;
    answer(&format!(r#"{{"port": {}}}"#, server.port()?))?;
    server.run()
}

fn load(options: &Options) -> Result<()> {
    let mut load = prepare(options)?;
    let warm = options.number("warm", 0)?;
    if warm > 0 {
        load.run(Amount::Operations(warm))?;
    }
    answer(r#"{"ready": true}"#)?;
    for line in io::stdin().lock().lines() {
        let Report { operations, seconds, busy } = load.run(amount(&line?)?)?;
        answer(&format!(r#"{{"operations": {operations}, "seconds": {seconds}, "busy": {busy}}}"#))?;
    }
    Ok(())
}

fn prepare(options: &Options) -> Result<Load> {
    let address = options.address.as_deref().ok_or_else(|| Wrong::new(USAGE))?;
    let address = Address::parse(address)?;
    let dialer = match options.path("certificate") {
        Some(file) => Dialer::secure(address, &file)?,
        None => Dialer::new(address),
    };
    let size = options.number("size", 0)?;
    let depth = options.number("depth", 1)?;
    let mode = options.mode.as_str();
    let pattern = match options.path("pattern") {
        Some(file) => Pattern::read(&file)?,
        None if mode == "lines" => Pattern::lines(size),
        None => Pattern::noise(),
    };
    let (lifetime, depth) = match mode {
        "visit" => (Lifetime::Visit, 1),
        "download" | "upload" => (Lifetime::Kept, u64::MAX),
        _ => (Lifetime::Kept, depth),
    };
    let connections: usize = options.number("connections", 1)?;
    let dialogues = (0..connections).map(|_| dialogue(options)).collect::<Result<Vec<_>>>()?;
    Load::new(dialer, pattern, lifetime, depth, dialogues)
}

fn dialogue(options: &Options) -> Result<Box<dyn Dialogue>> {
    let size = options.number("size", 0)?;
    let times = options.number("times", 1)?;
    Ok(match options.mode.as_str() {
        "echo" => Box::new(Echo::new(size, 1, times)),
        "lines" => Box::new(Echo::new(size, size, times)),
        "download" => Box::new(Download::new(size)),
        "upload" => Box::new(Upload::new(size)),
        "visit" => Box::new(Visit::new(size)),
        "http" => Box::new(Http::new(options.text("body").unwrap_or_default())),
        "websocket" => Box::new(WebSocket::new(size)),
        mode => return Err(Wrong::new(format!("there is no mode {mode:?}\n{USAGE}"))),
    })
}

fn amount(line: &str) -> Result<Amount> {
    let unclear = || Wrong::new(format!("{line:?} is no amount"));
    let (unit, number) = line.trim().split_once(' ').ok_or_else(unclear)?;
    match unit {
        "operations" => number.parse().map(Amount::Operations).map_err(|_| unclear()),
        "seconds" => match number.parse().map(Duration::try_from_secs_f64) {
            Ok(Ok(span)) => Ok(Amount::Time(span)),
            _ => Err(unclear()),
        },
        _ => Err(unclear()),
    }
}

fn answer(line: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}
