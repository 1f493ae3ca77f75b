//! The numbers of the overview.

use leptos::prelude::*;

use crate::model::{Counts, HealthStatus, OutcomeCounts};
use crate::view::thousands;

/// The numbers of the overview.
#[component]
pub fn Tiles(
    /// How many jobs there are.
    #[prop(into)]
    counts: Signal<Counts>,
    /// How many ended today.
    #[prop(into)]
    today: Signal<OutcomeCounts>,
    /// How many are stale.
    #[prop(into)]
    stale: Signal<usize>,
    /// The most that may be active.
    max_active: u32,
    /// The system's condition.
    #[prop(into)]
    health: Signal<HealthStatus>,
) -> impl IntoView {
    let word = move || match health.get() {
        HealthStatus::Healthy => "Healthy",
        HealthStatus::Degraded => "Degraded",
        HealthStatus::Critical => "Critical",
    };
    let health_class = move || match health.get() {
        HealthStatus::Healthy => "tile ok",
        HealthStatus::Degraded => "tile warn",
        HealthStatus::Critical => "tile bad",
    };
    let near = move || counts.get().active() * 5 > u64::from(max_active) * 4;
    let outcomes = move || counts.get().outcomes();
    view! {
        <dl class="tiles" aria-label="System health">
            <div class=health_class>
                <dt>"Health"</dt>
                <dd class="word">{word}</dd>
            </div>
            <div class="tile" class:warn=near>
                <dt>"Active"</dt>
                <dd>
                    {move || thousands(counts.get().active())} " "
                    <small>{format!("of {max_active}")}</small>
                </dd>
            </div>
            <div class="tile">
                <dt>"Waiting"</dt>
                <dd>{move || thousands(counts.get().waiting())}</dd>
            </div>
            <div class="tile" class:warn=move || { stale.get() > 0 }>
                <dt>"Stale"</dt>
                <dd>{move || stale.get().to_string()}</dd>
            </div>
            <div class="tile">
                <dt>"Completed"</dt>
                <dd>
                    {move || thousands(outcomes().completed)} " "
                    <small>{move || format!("{} today", today.get().completed)}</small>
                </dd>
            </div>
            <div class="tile" class:bad=move || { today.get().failed > 0 }>
                <dt>"Failed"</dt>
                <dd>
                    {move || thousands(outcomes().failed)} " "
                    <small>{move || format!("{} today", today.get().failed)}</small>
                </dd>
            </div>
            <div class="tile">
                <dt>"Aborted"</dt>
                <dd>
                    {move || thousands(outcomes().aborted)} " "
                    <small>{move || format!("{} today", today.get().aborted)}</small>
                </dd>
            </div>
        </dl>
    }
}
