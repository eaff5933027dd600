//! The table of `fcsp top`: which columns a width has room for, and a tenant's rows in them.

use fcsp_core::units::{Bytes, Percent};
use fcsp_tenancy::TenantSnapshot;
use ratatui::style::{Color, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Row};

use super::State;
use crate::output::clip;
use crate::{figures, ps, screen};

/// Width from which everything is shown.
pub(super) const FULL_WIDTH: u16 = 112;

/// Width from which the class of most work is shown.
pub(super) const MIX_WIDTH: u16 = 132;
/// Width from which two classes are.
pub(super) const LONG_MIX_WIDTH: u16 = 160;

/// Columns by what the width allows.
pub(super) struct Columns {
    /// True if there is room for everything. Otherwise peak, queue and forced launches are left
    /// out, and the rest is narrow.
    full: bool,
    /// True if there is room only for the columns of name, use and quota.
    bare: bool,
    name: u16,
    bar: u16,
    amount: u16,
    refused: u16,
    compute: u16,
    throttled: u16,
    /// 0 where there is no room for it.
    mix: u16,
}

pub(super) fn columns(width: u16, longest_name: usize) -> Columns {
    let full = width >= FULL_WIDTH;
    let mut columns = Columns {
        full,
        bare: false,
        name: 12,
        bar: 6,
        amount: if full { 10 } else { 9 },
        refused: if full { 7 } else { 4 },
        compute: if full { 14 } else { 12 },
        throttled: if full { 9 } else { 4 },
        mix: match width {
            0..MIX_WIDTH => 0,
            MIX_WIDTH..LONG_MIX_WIDTH => 17,
            _ => 33,
        },
    };
    let least: u16 = columns.list("").iter().map(|column| column.width + 1).sum();
    if width < least - 1 {
        columns.bare = true;
        columns.name = width.saturating_sub(2 * (columns.amount + 1)).max(4);
        return columns;
    }
    // What is left over goes to long names, to shares in full, and to the bar.
    let spare = width.saturating_sub(least.saturating_sub(1));
    let name = (longest_name as u16)
        .saturating_sub(columns.name)
        .min(spare / 3);
    let compute = if full { (spare / 3).min(14) } else { 0 };
    columns.name += name;
    columns.compute += compute;
    columns.bar = (columns.bar + spare - name - compute).min(40);
    columns
}

/// A column's heading, width, and whether it holds amounts.
pub(super) struct Column {
    pub heading: &'static str,
    pub width: u16,
    pub right: bool,
}

impl Columns {
    /// Returns the columns, with `bar` as the heading of the bar.
    pub(super) fn list(&self, bar: &'static str) -> Vec<Column> {
        let left = |heading, width| Column {
            heading,
            width,
            right: false,
        };
        let right = |heading, width| Column {
            heading,
            width,
            right: true,
        };
        let mut list = vec![
            left("TENANT", self.name),
            left("DEVICE", 8),
            left(bar, self.bar),
            right("USED", self.amount),
            right("QUOTA", self.amount),
        ];
        if self.full {
            list.push(right("PEAK", self.amount));
        }
        list.push(right(
            if self.full { "REFUSED" } else { "REF" },
            self.refused,
        ));
        list.push(left("COMPUTE", self.compute));
        list.push(right("UTIL", 4));
        let throttled = if self.full { "THROTTLED" } else { "THR" };
        list.push(right(throttled, self.throttled));
        if self.full {
            list.extend([right("QUEUE", 6), right("FORCED", 6)]);
        }
        if self.mix > 0 {
            list.push(left("MIX", self.mix));
        }
        self.kept(list)
    }

    /// Returns the cells of a row that there is room for.
    fn kept<T>(&self, row: Vec<T>) -> Vec<T> {
        let kept = |at: &usize| !self.bare || matches!(at, 0 | 3 | 4);
        row.into_iter()
            .enumerate()
            .filter_map(|(at, cell)| kept(&at).then_some(cell))
            .collect()
    }

    /// Formats bytes in a column of amounts.
    pub(super) fn bytes(&self, bytes: u64) -> Cell<'static> {
        let text = Bytes(bytes).to_string();
        // Two decimals of a four-digit number are the only thing too wide.
        right(match text.split_once('.') {
            Some((whole, unit)) if text.chars().count() > usize::from(self.amount) => {
                format!(
                    "{whole}{}",
                    unit.trim_start_matches(|c: char| c.is_ascii_digit())
                )
            }
            _ => text,
        })
    }

    /// Formats a number in the column of refusals.
    fn count(&self, count: u64) -> Cell<'static> {
        let text = count.to_string();
        right(match text.len() {
            length if length <= usize::from(self.refused) => text,
            0..=6 => format!("{}k", count / 1_000),
            7..=9 => format!("{}M", count / 1_000_000),
            _ => "many".into(),
        })
    }
}

/// Formats the share asked for: in full where there is room, otherwise only its size and mode.
fn compute(tenant: &TenantSnapshot, columns: &Columns) -> Cell<'static> {
    let width = usize::from(columns.compute);
    let full = ps::compute_text(tenant);
    let text = match tenant.limits.compute.iter().next() {
        Some((_, params)) if full.chars().count() > width => {
            let more = if tenant.limits.compute.iter().count() > 1 {
                " .."
            } else {
                ""
            };
            format!("{} {}{more}", Percent(params.guarantee), params.mode)
        }
        _ => full,
    };
    Cell::from(clip(&text, width))
}

pub(super) fn right(text: String) -> Cell<'static> {
    Cell::from(Line::from(text).right_aligned())
}

/// Returns a tenant's name, with its state where that is not the usual one.
pub(super) fn label(tenant: &TenantSnapshot) -> String {
    match ps::state(tenant) {
        "running" => tenant.name.clone(),
        other => format!("{} ({other})", tenant.name),
    }
}

pub(super) fn tenant_rows(
    tenant: &TenantSnapshot,
    state: &State,
    columns: &Columns,
) -> Vec<Row<'static>> {
    let name_style = match (tenant.alive, tenant.paused) {
        (false, _) => screen::FAINT,
        (true, true) => Style::new().fg(Color::Yellow),
        (true, false) => screen::HEADING,
    };
    let name = || -> Cell<'static> {
        let text = clip(&label(tenant), columns.name.into());
        Cell::from(Span::styled(text, name_style))
    };
    if tenant.devices.is_empty() {
        let mut cells = vec![name(), Cell::from("-"), Cell::from(""), right("-".into())];
        cells.push(right(clip(&ps::memory_text(tenant), columns.amount.into())));
        if columns.full {
            cells.push(right("-".into()));
        }
        cells.extend([right("-".into()), compute(tenant, columns)]);
        return vec![Row::new(columns.kept(cells))];
    }
    let mut rows = Vec::new();
    for device in &tenant.devices {
        let region = &device.region;
        let quota = region.limit_bytes.unwrap_or(region.total_bytes);
        let amount = |bytes| match device.counts_memory {
            true => columns.bytes(bytes),
            false => right("-".into()),
        };
        let mut cells = vec![
            name(),
            Cell::from(region.uuid.chars().skip(4).take(8).collect::<String>()),
            Cell::from(screen::bar(
                region.used_bytes,
                quota,
                columns.bar.into(),
                screen::heat(region.used_bytes, quota),
            )),
            amount(region.used_bytes),
            match region.limit_bytes {
                Some(limit) => columns.bytes(limit),
                None if !device.counts_memory => right("-".into()),
                None => right("unlimited".into()),
            },
        ];
        if columns.full {
            cells.push(amount(region.peak_bytes));
        }
        let refused = match device.counts_memory {
            true => columns.count(region.refused),
            false => right("-".into()),
        };
        cells.push(if state.glows(tenant, device) {
            refused.style(Style::new().fg(Color::Red))
        } else {
            refused
        });
        cells.push(compute(tenant, columns));
        if let Some(share) = &device.compute {
            let [utilization, throttled, queue, forced, _] = ps::share_cells(share);
            let waiting = share.throttled.is_some_and(|part| part >= 0.005);
            cells.push(right(utilization));
            cells.push(right(throttled).style(if waiting {
                Style::new().fg(Color::Yellow)
            } else {
                Style::new()
            }));
            if columns.full {
                cells.extend([right(queue), right(forced)]);
            }
            if columns.mix > 0 {
                let words = if columns.mix > 20 { 2 } else { 1 };
                let text = figures::mostly(&share.mix, words);
                cells.push(Cell::from(clip(&text, columns.mix.into())));
            }
        }
        rows.push(Row::new(columns.kept(cells)));
        for process in region
            .processes
            .iter()
            .filter(|process| process.alive || state.all)
        {
            let mut cells = vec![
                Cell::from(format!("  {}", process.pid)),
                Cell::from(""),
                Cell::from(clip(&process.name, columns.bar.into())),
                match process.alive {
                    true => columns.bytes(process.reserved_bytes),
                    false => right("-".into()),
                },
                right(if process.alive {
                    String::new()
                } else {
                    "dead".into()
                }),
            ];
            if columns.full {
                cells.push(Cell::from(""));
            }
            cells.push(columns.count(process.refused));
            rows.push(Row::new(columns.kept(cells)).style(screen::FAINT));
        }
    }
    rows
}
