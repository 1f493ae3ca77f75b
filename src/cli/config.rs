//! `longhaul config`: every setting as a server would have it, and where it comes from.

use crate::settings::{Settings, SettingsArgs};

/// Prints the settings.
pub fn run(args: &SettingsArgs) -> anyhow::Result<()> {
    let settings = Settings::new(args)?;
    for setting in settings.all() {
        println!("{:<18} {:<28} {}", setting.name, setting.value, setting.source);
    }
    Ok(())
}
