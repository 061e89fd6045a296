//! A picture of one failover: who answered a client when, under Landfall and under keepalived, drawn
//! from measured requests as SVG.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::peers;
use crate::lab::keepalived::{self, Pace};
use crate::scenario::failover::{self, Watched};
use crate::scenario::{Stage, be_quiet};

/// The time that is drawn, counted from the node's death.
const FROM: Duration = Duration::from_millis(250);
const TO: Duration = Duration::from_millis(4250);

/// Answers to requests that follow one another are drawn as one bar, even where the machine let the
/// prober wait; not over a longer wait than this, of which nothing is known.
const JOINED: Duration = Duration::from_millis(100);

/// How often a host without a neighbour entry asks meanwhile, as in the benchmarks.
const ASK: Duration = Duration::from_millis(5);

/// Measures of the drawing, in pixels.
const WIDTH: f64 = 900.0;
const LEFT: f64 = 240.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 52.0;
const ROW: f64 = 52.0;
const BAR: f64 = 22.0;

/// What a client saw of one failover.
#[derive(Debug, Clone)]
struct Series {
    title: String,
    /// From when to when every request was answered, in seconds from the death, in order.
    answered: Vec<(f64, f64)>,
    /// When requests went out that were not answered.
    lost: Vec<f64>,
    /// The longest silence.
    gap: Duration,
}

/// Lets the announcing node die once under each, and writes the picture.
///
/// # Errors
/// When a lab does not come up, nobody takes over, or the file cannot be written.
pub fn draw(file: &Path) -> Result<()> {
    be_quiet();
    let after = TO + Duration::from_millis(250);
    let landfall = {
        let stage = Stage::builder().start()?;
        let victim = stage.holder(stage.vip())?;
        failover::watch_lab(&stage.lab, stage.vip(), ASK, after, || victim.die())?
    };
    let mut series = vec![Series::of("Landfall", &landfall)];
    let version = keepalived::version()?;
    let name = version.split_whitespace().take(2).collect::<Vec<_>>();
    for (pace, setting) in [(Pace::Fastest, "0.1"), (Pace::Default, "1")] {
        let watched = peers::death(pace, after)?;
        let title = format!("{}, advert_int {setting}", name.join(" "));
        series.push(Series::of(&title, &watched));
    }
    for one in &series {
        println!("{}: silent for {:?}", one.title, one.gap);
    }
    fs::write(file, svg(&series)?).with_context(|| file.display().to_string())
}

impl Series {
    fn of(title: &str, watched: &Watched) -> Self {
        let since = |at: Instant| {
            let after = at.saturating_duration_since(watched.fault);
            let before = watched.fault.saturating_duration_since(at);
            after.as_secs_f64() - before.as_secs_f64()
        };
        let requests = watched.udp.requests.iter();
        let requests: Vec<(f64, Option<f64>)> = requests
            .map(|r| (since(r.sent), r.answer.as_ref().map(|a| since(a.at))))
            .collect();
        let unanswered = requests.iter().filter(|(_, answer)| answer.is_none());
        Self {
            title: title.to_owned(),
            answered: answered(&requests),
            lost: unanswered.map(|(sent, _)| *sent).collect(),
            gap: watched.udp.longest_gap().length,
        }
    }
}

/// The spans of time in which requests, of which each was sent and perhaps answered at some time,
/// were answered without exception.
fn answered(requests: &[(f64, Option<f64>)]) -> Vec<(f64, f64)> {
    let mut spans: Vec<(f64, f64)> = Vec::new();
    let mut unbroken = false;
    for (_, answer) in requests {
        match (answer, spans.last_mut()) {
            (Some(at), Some((_, end))) if unbroken && *at - *end <= JOINED.as_secs_f64() => {
                *end = end.max(*at);
            }
            (Some(at), _) => spans.push((*at, *at)),
            (None, _) => {}
        }
        unbroken = answer.is_some();
    }
    spans
}

fn x(seconds: f64) -> f64 {
    let span = FROM.as_secs_f64() + TO.as_secs_f64();
    let part = (seconds + FROM.as_secs_f64()).clamp(0.0, span) / span;
    LEFT + part * (WIDTH - LEFT - RIGHT)
}

fn svg(series: &[Series]) -> Result<String> {
    let rows = series.len() as f64 * ROW;
    let height = TOP + rows + 46.0;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"13\" role=\"img\">\n\
         <title>Answers to a client around the death of the announcing node</title>\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>\n\
         <text x=\"{LEFT}\" y=\"20\" fill=\"#222222\" font-size=\"15\">\
         A request every 5 ms; the announcing node dies at 0</text>\n\
         <text x=\"{LEFT}\" y=\"38\" fill=\"#1a7f4b\">answered\
         <tspan dx=\"14\" fill=\"#c0392b\">lost</tspan></text>\n"
    );
    axis(&mut text, rows)?;
    for (row, one) in series.iter().enumerate() {
        draw_row(&mut text, one, TOP + row as f64 * ROW)?;
    }
    text.push_str("</svg>\n");
    Ok(text)
}

/// A line and a number for each half second.
fn axis(text: &mut String, rows: f64) -> Result<()> {
    let bottom = TOP + rows;
    for half in 0..=(TO.as_millis() / 500) as u32 {
        let seconds = f64::from(half) / 2.0;
        let (at, colour) = (x(seconds), if half == 0 { "#c0392b" } else { "#dddddd" });
        writeln!(
            text,
            "<line x1=\"{at:.1}\" y1=\"{TOP}\" x2=\"{at:.1}\" y2=\"{bottom:.1}\" stroke=\"{colour}\"/>\n\
             <text x=\"{at:.1}\" y=\"{:.1}\" fill=\"#555555\" text-anchor=\"middle\">{seconds}</text>",
            bottom + 18.0
        )?;
    }
    let middle = x((TO.as_secs_f64() - FROM.as_secs_f64()) / 2.0);
    writeln!(
        text,
        "<text x=\"{middle:.1}\" y=\"{:.1}\" fill=\"#555555\" text-anchor=\"middle\">seconds</text>",
        bottom + 36.0
    )?;
    Ok(())
}

fn draw_row(text: &mut String, one: &Series, top: f64) -> Result<()> {
    let middle = top + ROW / 2.0;
    writeln!(
        text,
        "<text x=\"{:.1}\" y=\"{:.1}\" fill=\"#222222\" text-anchor=\"end\">{}</text>\n\
         <text x=\"{:.1}\" y=\"{:.1}\" fill=\"#555555\" text-anchor=\"end\">silent for {:.2} s</text>",
        LEFT - 12.0,
        middle - 2.0,
        one.title,
        LEFT - 12.0,
        middle + 15.0,
        one.gap.as_secs_f64()
    )?;
    let inside = |seconds: f64| (-FROM.as_secs_f64()..=TO.as_secs_f64()).contains(&seconds);
    let spans = one.answered.iter().copied();
    for (from, to) in spans.filter(|(from, to)| inside(*from) || inside(*to)) {
        let (left, right) = (x(from), x(to));
        writeln!(
            text,
            "<rect x=\"{left:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{BAR}\" fill=\"#1a7f4b\"/>",
            middle - BAR / 2.0,
            (right - left).max(0.8)
        )?;
    }
    let mut path = String::new();
    for at in one.lost.iter().copied().filter(|at| inside(*at)) {
        write!(path, "M{:.1} {:.1}v5", x(at), middle + BAR / 2.0 + 2.0)?;
    }
    if !path.is_empty() {
        writeln!(
            text,
            "<path d=\"{path}\" stroke=\"#c0392b\" stroke-width=\"0.8\"/>"
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silence_parts_the_bars_and_lost_requests_are_marked() {
        let at = |ms: u32| f64::from(ms) / 1000.0;
        let requests: Vec<(f64, Option<f64>)> =
            [(0, true), (40, true), (80, true), (200, false), (400, true)]
                .map(|(ms, answered)| (at(ms), answered.then(|| at(ms + 1))))
                .to_vec();
        let one = Series {
            title: "one".to_owned(),
            answered: answered(&requests),
            lost: vec![at(200), 60.0],
            gap: Duration::from_millis(390),
        };
        assert_eq!(one.answered, [(at(1), at(81)), (at(401), at(401))]);
        let text = svg(&[one]).unwrap();
        assert_eq!(text.matches("fill=\"#1a7f4b\"/>").count(), 2, "{text}");
        assert_eq!(text.matches("v5").count(), 1, "{text}");
        assert!(text.contains("silent for 0.39 s"), "{text}");
    }
}
