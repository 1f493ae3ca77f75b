//! One job, alive: its state, its steps, its log.

use leptos::html;
use leptos::prelude::*;

use super::live::{Pace, dom, follow, tick};
use crate::app::components::{
    AskDialog, Bar, LogLineRow, StatusBadge, StepTreeView, status_tone, status_word,
};
use crate::model::{JobId, LineKind, LogCounts, LogLine, Status, Timestamp, visible};
use crate::rpc::{LogView, RpcError, poll_job};
use crate::view::{
    Action, Fact, JobAnswer, JobPageView, age, attention, clock_time, duration, iso, percent_text, thousands,
};

/// While a reader follows, the log keeps this many lines on the page…
const FOLLOWED_LINES: usize = 300;
/// …and while a reader stays, this many before the oldest go.
const KEPT_LINES: usize = 2_000;

/// What the page knows.
#[derive(Clone, Copy)]
struct Known {
    view: RwSignal<JobPageView>,
    lines: RwSignal<Vec<LogLine>>,
    total: RwSignal<u64>,
    /// Lines that came while the reader was elsewhere in the log.
    unseen: RwSignal<usize>,
    /// Older lines were taken off the page.
    older: RwSignal<bool>,
    now: RwSignal<Timestamp>,
    log: NodeRef<html::Div>,
}

impl Known {
    fn take(self, answer: JobAnswer, tail: bool) -> Pace {
        match answer {
            JobAnswer::Unchanged { now } => self.now.set(now),
            JobAnswer::Changed { view, lines, .. } => {
                if view.build != self.view.read_untracked().build {
                    return Pace::Outdated;
                }
                self.now.set(view.now);
                self.view.set(*view);
                if tail && !lines.is_empty() {
                    self.append(lines);
                }
            }
        }
        if self.view.read_untracked().row.status.is_final() { Pace::Idle } else { Pace::Busy }
    }

    /// Adds new lines. A reader at the end is taken along; one who is reading is left alone.
    fn append(self, new: Vec<LogLine>) {
        let following = self.log.get_untracked().is_none_or(|log| dom::is_at_end(&log));
        let count = new.len();
        self.total.update(|total| *total += count as u64);
        self.lines.update(|lines| {
            lines.extend(new);
            let keep = if following { FOLLOWED_LINES } else { KEPT_LINES };
            if lines.len() > keep {
                lines.drain(..lines.len() - keep);
                self.older.set(true);
            }
        });
        if following {
            self.follow_end();
        } else {
            self.unseen.update(|unseen| *unseen += count);
        }
    }

    /// Goes to the end once the page has drawn what it was told.
    fn follow_end(self) {
        self.unseen.set(0);
        request_animation_frame(move || {
            if let Some(log) = self.log.get_untracked() {
                dom::scroll_to_end(&log);
            }
        });
    }
}

/// Asks for what is new, in parts where it is much.
async fn fetch(known: Known, id: JobId, log: LogView, unfolded: bool, tail: bool) -> Result<Pace, RpcError> {
    loop {
        let (since, seq) = {
            let view = known.view.read_untracked();
            (view.row.revision, view.seq)
        };
        let after = known.lines.read_untracked().last().map_or(seq, |line| line.seq).max(seq);
        let LogView { kind, step, text } = log.clone();
        let answer = poll_job(id, since, after, kind, step, text, unfolded).await?;
        let more = matches!(&answer, JobAnswer::Changed { more: true, .. });
        if let (true, JobAnswer::Changed { lines, view, .. }) = (more, &answer) {
            // The rest of a long answer comes before anything newer.
            let reached = lines.last().map_or(view.seq, |line| line.seq);
            let lines = lines.clone();
            if tail {
                known.append(lines);
            }
            known.view.update(|view| view.seq = reached);
            continue;
        }
        return Ok(known.take(answer, tail));
    }
}

/// One job, alive.
#[island]
pub fn LiveJob(
    /// As it stood when the page was rendered.
    initial: JobPageView,
    /// The lines of its log that are shown.
    lines: Vec<LogLine>,
    /// How many lines match the filter.
    total: u64,
    /// There are older lines.
    older: bool,
    /// There are newer lines, so what comes is not added here.
    newer: bool,
    /// The first error in the log.
    first_error: Option<u64>,
    /// Which lines.
    log: LogView,
    /// The line somebody came for.
    marked: Option<u64>,
    /// All steps are shown.
    unfolded: bool,
    /// The question the page came with.
    ask: Option<String>,
    /// Whether the viewer may abort and force-fail.
    may_recover: bool,
) -> impl IntoView {
    let id = initial.row.id;
    let tail = !newer;
    let known = Known {
        now: RwSignal::new(initial.now),
        view: RwSignal::new(initial),
        lines: RwSignal::new(lines),
        total: RwSignal::new(total),
        unseen: RwSignal::new(0),
        older: RwSignal::new(older),
        log: NodeRef::new(),
    };
    let watched = log.clone();
    let asked = ask.clone();
    Effect::new(move |_| {
        tick(known.now);
        if tail && marked.is_none() {
            known.follow_end();
        }
        if let Some(ask) = &asked {
            dom::open_dialog(&format!("ask-{ask}"));
        }
        let log = watched.clone();
        follow(format!("/api/admin/jobs/events?job={id}"), move || {
            fetch(known, id, log.clone(), unfolded, tail)
        });
    });
    let view = known.view;
    let title = Memo::new(move |_| visible(&view.read().row.title, false).into_owned());
    let status = Memo::new(move |_| view.read().row.status);
    let percent = Memo::new(move |_| view.read().row.percent);
    Effect::new(move |_| {
        let (title, status, percent) = (title.get(), status.get(), percent.get());
        let state = if status.is_active() { format!("{percent} %") } else { status_word(status).to_owned() };
        dom::set_title(&format!("{state} · {title} · Longhaul"));
    });
    view! {
        <Head known title status percent id may_recover ask />
        <div class="two">
            <div class="stack">
                <Steps view id unfolded />
                <Facts view />
                <Actions view />
            </div>
            <Log known id log first_error marked newer />
        </div>
    }
}

/// Title, state, bar, and what can be done.
#[component]
fn Head(
    known: Known,
    title: Memo<String>,
    status: Memo<Status>,
    percent: Memo<u8>,
    id: JobId,
    may_recover: bool,
    ask: Option<String>,
) -> impl IntoView {
    let (view, now) = (known.view, known.now);
    let feature = view.read_untracked().row.feature.clone();
    let feature_page = crate::app::components::past_address(
        &crate::rpc::PastFilter { feature: Some(feature.clone()), ..Default::default() },
        None,
        None,
    );
    let summary = move || {
        let view = view.read();
        let row = &view.row;
        let mut parts = vec![if row.finishing { "finishing".to_owned() } else { percent_text(row.percent) }];
        match view.ended_at {
            Some(ended) => parts.push(format!("took {}", duration(ended.since(row.started_at)))),
            None => parts.push(format!("running for {}", duration(now.get().since(row.started_at)))),
        }
        if view.max_attempts > 1 {
            parts.push(format!("attempt {} of {}", view.attempt, view.max_attempts));
        }
        parts.push(format!("started by {}", visible(&row.author, false)));
        parts.join(" · ")
    };
    let under = move || {
        let view = view.read();
        let (row, now) = (&view.row, now.get());
        if let Some(need) = attention(row, now) {
            return format!("This job {} {}", need.verdict, need.evidence);
        }
        if row.status.is_final() {
            return String::new();
        }
        let mut text = format!("Last activity {}", age(now.since(row.activity_at)));
        if let Some(at) = row.heartbeat_at {
            text.push_str(&format!(", heartbeat {}", age(now.since(at))));
        }
        if row.scope_grew {
            text.push_str(". Scope grew: there is more to do than was known, so the bar waits");
        }
        text.push('.');
        text
    };
    let pressing = move || attention(&view.read().row, now.get()).is_some();
    let tone = Memo::new(move |_| match status.get() {
        Status::Running | Status::Aborting if attention(&view.read().row, now.get()).is_some() => "warn",
        status => status_tone(status),
    });
    let can = move || may_recover && !status.get().is_final();
    let open = move |what: &'static str| {
        move |event: leptos::ev::MouseEvent| {
            if dom::open_dialog(what) {
                event.prevent_default();
            }
        }
    };
    let ask_is = move |what: &str| ask.as_deref() == Some(what);
    let (ask_abort, ask_force) = (ask_is("abort"), ask_is("force-fail"));
    // Said in tens, so that a screen reader is not talked over.
    let said = Memo::new(move |_| match status.get() {
        status if status.is_active() => format!("{} %", percent.get() / 10 * 10),
        status => status_word(status).to_owned(),
    });
    view! {
        <div class="headline">
            <div>
                <p>
                    <a href="/admin/jobs">"Jobs"</a>
                    " / "
                    <a href=feature_page>{visible(&feature, false).into_owned()}</a>
                </p>
                <h1>{title}</h1>
                <p class="state-line">
                    <StatusBadge status />
                    " "
                    {summary}
                </p>
                <Show when=move || view.read().error.is_some()>
                    <p class="error-text">
                        {move || view.read().error.as_deref().map(|error| visible(error, true).into_owned())}
                    </p>
                </Show>
            </div>
            <Show when=can>
                <div class="actions">
                    <Show when=move || status.get() != Status::Aborting>
                        <a class="button" href=format!("/admin/jobs/{id}?ask=abort") on:click=open("ask-abort")>
                            "Abort…"
                        </a>
                    </Show>
                    <a
                        class="button danger"
                        href=format!("/admin/jobs/{id}?ask=force-fail")
                        on:click=open("ask-force-fail")
                    >
                        "Force fail…"
                    </a>
                </div>
            </Show>
        </div>
        <div>
            <Bar percent label="Overall progress".to_owned() tone big=true />
            <p class="under" class:pressing=pressing>
                {under}
            </p>
            <p class="sr" role="status">
                {said}
            </p>
        </div>
        <Show when=can>
            <AskDialog
                what="abort"
                id
                title=format!("Ask “{}” to stop?", title.get_untracked())
                text="Its process is told with its next heartbeat and stops when it can. Nothing is killed."
                button="Ask it to stop"
                open=ask_abort
            />
            <AskDialog
                what="force-fail"
                id
                title=format!("Force-fail “{}”?", title.get_untracked())
                text="The job ends as failed now. A run in this server is cancelled; a run elsewhere is fenced: whatever it still reports is refused. This cannot be undone."
                button="Force fail"
                open=ask_force
            />
        </Show>
    }
}

#[component]
fn Steps(view: RwSignal<JobPageView>, id: JobId, unfolded: bool) -> impl IntoView {
    let rows = Memo::new(move |_| view.read().steps.clone());
    let count = move || view.read().step_count;
    view! {
        <section class="card" aria-labelledby="steps">
            <header>
                <h2 id="steps">
                    "Steps" <span class="count">{move || thousands(u64::from(count()))}</span>
                </h2>
                {unfolded.then(|| view! { <a href=format!("/admin/jobs/{id}")>"Fold"</a> })}
            </header>
            <Show
                when=move || !rows.read().is_empty()
                fallback=|| {
                    view! {
                        <div class="empty">
                            <p class="sub">"This job has declared no steps."</p>
                        </div>
                    }
                }
            >
                <StepTreeView rows unfold=format!("/admin/jobs/{id}?steps=all") />
            </Show>
        </section>
    }
}

#[component]
fn Facts(view: RwSignal<JobPageView>) -> impl IntoView {
    let facts = Memo::new(move |_| view.read().facts.clone());
    let fact = |fact: Fact| {
        view! {
            <dt>{fact.name}</dt>
            <dd class:mono=fact.mono>{visible(&fact.value, false).into_owned()}</dd>
        }
    };
    view! {
        <section class="card" aria-labelledby="facts">
            <header>
                <h2 id="facts">"Facts"</h2>
            </header>
            <dl class="facts">{move || facts.get().into_iter().map(fact).collect_view()}</dl>
        </section>
    }
}

/// Who did what to the job.
#[component]
fn Actions(view: RwSignal<JobPageView>) -> impl IntoView {
    let actions = Memo::new(move |_| view.read().actions.clone());
    let action = |action: Action| {
        view! {
            <li>
                <time datetime=iso(action.at)>{clock_time(action.at)}</time>
                <span>{visible(&action.text, false).into_owned()}</span>
            </li>
        }
    };
    view! {
        <Show when=move || !actions.read().is_empty()>
            <section class="card" aria-labelledby="actions">
                <header>
                    <h2 id="actions">"Who did what"</h2>
                </header>
                <ol class="deeds">{move || actions.get().into_iter().map(action).collect_view()}</ol>
            </section>
        </Show>
    }
}

/// The job's log.
#[component]
fn Log(
    known: Known,
    id: JobId,
    log: LogView,
    first_error: Option<u64>,
    marked: Option<u64>,
    newer: bool,
) -> impl IntoView {
    let page = format!("/admin/jobs/{id}");
    let counts = Memo::new(move |_| known.view.read().counts);
    let narrowed = log.text.is_some() || log.step.is_some();
    let chip = {
        let (page, log) = (page.clone(), log.clone());
        move |kind: Option<LineKind>, word: &'static str, count: fn(&LogCounts) -> u64| {
            let mut address = page.clone();
            if let Some(kind) = kind {
                address.push_str("?level=");
                address.push_str(kind.name());
            }
            address.push_str("#log");
            view! {
                <a class="chip" href=address aria-current=(log.kind == kind && !narrowed).then_some("true")>
                    {word}
                    <span class="count">{move || thousands(count(&counts.read()))}</span>
                </a>
            }
        }
    };
    let chips = [
        chip(None, "All", LogCounts::total),
        chip(Some(LineKind::Warning), "Warnings", |counts| counts.warning),
        chip(Some(LineKind::Error), "Errors", |counts| counts.error),
        chip(Some(LineKind::Operator), "Operator", |counts| counts.operator),
    ];
    let first = move || known.lines.read().first().map_or(0, |line| line.seq);
    let kept = {
        let mut kept = String::new();
        if let Some(kind) = log.kind {
            kept.push_str("&level=");
            kept.push_str(kind.name());
        }
        for (name, value) in [("step", &log.step), ("q", &log.text)] {
            if let Some(value) = value {
                kept.push_str(&format!("&{name}={}", crate::app::components::encode(value)));
            }
        }
        kept
    };
    let (older_page, newest_page) =
        (format!("{page}?before="), format!("{page}?{}", kept.trim_start_matches('&')));
    let older_kept = kept;
    let on_scroll = move |_| {
        if known.unseen.get_untracked() > 0
            && known.log.get_untracked().is_some_and(|log| dom::is_at_end(&log))
        {
            known.unseen.set(0);
        }
    };
    let unseen = move || match known.unseen.get() {
        1 => "1 new line ↓".to_owned(),
        unseen => format!("{unseen} new lines ↓"),
    };
    let level = log.kind.map(|kind| view! { <input type="hidden" name="level" value=kind.name() /> });
    view! {
        <section class="card log-card" id="log" aria-labelledby="log-title">
            <header>
                <h2 id="log-title">
                    "Log" <span class="count">{move || {
                        let total = known.total.get();
                        format!("{} {}", thousands(total), if total == 1 { "line" } else { "lines" })
                    }}</span>
                </h2>
                <nav class="chips" aria-label="Kind of line">
                    {chips.into_iter().collect_view()}
                </nav>
            </header>
            <div class="filters">
                <form method="get" action=format!("{page}#log") role="search" aria-label="Search this log">
                    <label>
                        <span class="sr">"Text"</span>
                        <input
                            name="q"
                            type="search"
                            placeholder="Search this log"
                            value=log.text.clone().unwrap_or_default()
                        />
                    </label>
                    {level}
                    <button>"Search"</button>
                    {narrowed
                        .then(|| {
                            view! {
                                <a class="button quiet" href=format!("{page}#log")>
                                    "Clear"
                                </a>
                            }
                        })}
                    {first_error
                        .map(|seq| {
                            view! {
                                <a class="button" href=format!("{page}?from={seq}#L{seq}")>
                                    "First error"
                                </a>
                            }
                        })}
                </form>
            </div>
            <div class="log" role="log" tabindex="0" aria-labelledby="log-title" node_ref=known.log on:scroll=on_scroll>
                <Show when=move || known.older.get()>
                    <p class="more">
                        <a href=format!("{older_page}{}{older_kept}#log", first())>"Older lines"</a>
                    </p>
                </Show>
                <Show when=move || known.lines.read().is_empty()>
                    <p class="more">{if narrowed || log.kind.is_some() { "No line matches." } else { "Nothing was said yet." }}</p>
                </Show>
                <For each=move || known.lines.get() key=|line| line.seq let:line>
                    <LogLineRow marked=marked == Some(line.seq) line />
                </For>
                {newer
                    .then(|| {
                        view! {
                            <p class="more">
                                <a href=format!("{newest_page}#log")>"Go to the newest lines"</a>
                            </p>
                        }
                    })}
            </div>
            <Show when=move || { known.unseen.get() > 0 }>
                <button class="unseen" on:click=move |_| known.follow_end()>
                    {unseen}
                </button>
            </Show>
        </section>
    }
}
