//! What people do to all jobs.

use leptos::prelude::*;

use super::RpcError;

/// Ends what is stale now.
#[server(prefix = "/rpc", endpoint = "system/sweep")]
pub async fn sweep_now() -> Result<(), RpcError> {
    use super::form::{answer, caller, service};
    let swept = service()?.sweep_now(&caller()?).await;
    answer(swept, "/admin/jobs", |ended| {
        ("/admin/jobs".to_owned(), if ended.is_empty() { "swept-none" } else { "swept" })
    })
}

/// Ends every job. `confirm` is what the page asks to be typed: how many jobs it showed.
#[server(prefix = "/rpc", endpoint = "system/emergency-cleanup")]
pub async fn emergency_cleanup(
    #[server(default)] reason: String,
    #[server(default)] confirm: String,
    #[server(default)] shown: u32,
) -> Result<(), RpcError> {
    use super::form::{answer, caller, service};
    const PAGE: &str = "/admin/jobs/emergency-cleanup";
    let done = service()?.confirmed_cleanup(&caller()?, reason, shown, &confirm).await;
    answer(done, PAGE, |report| (format!("{PAGE}?report={}", report.id), "emergency-cleaned"))
}
