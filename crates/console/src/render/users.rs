//! The table of users.

use cloudai_accounts::User;
use cloudai_model::Wall;

use super::{
    table::{Cut, table},
    text::safe,
};
use crate::{output::Style, time::short_span};

/// Users, in the order given.
pub(crate) fn users(users: &[User], now: Wall, style: Style) -> String {
    let rows: Vec<_> = users
        .iter()
        .map(|user| {
            [
                user.user.to_string(),
                user.role.to_string(),
                user.state.to_string(),
                short_span(now.since(user.created_at)),
                safe(&user.name),
                safe(&user.email),
            ]
        })
        .collect();
    let heads = [
        ("USER", Cut::Never),
        ("ROLE", Cut::Never),
        ("STATE", Cut::Never),
        ("AGE", Cut::Never),
        ("NAME", Cut::End(8)),
        ("EMAIL", Cut::End(8)),
    ];
    table(heads, &rows, style.width, |_, _, cell| cell)
}
