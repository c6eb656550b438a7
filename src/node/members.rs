//! The members as text and as JSON.

use crate::core::api::json;
use crate::core::members::{Member, Members, Process};
use std::fmt::Write;
use std::net::SocketAddr;

/// The text of `/peers`: one line for each address, or JSON.
pub fn write(members: &Members<SocketAddr>, is_json: bool, now_ms: u64) -> String {
    let fields = |member| fields(member, members.process(member), now_ms);
    if !is_json {
        return members.listed().iter().map(|member| line(member, &fields(member))).collect();
    }
    let mut array = json::Members::array();
    for member in members.listed() {
        array.item().push_str(&object(member, &fields(member)));
    }
    let mut object = json::Members::object();
    object.named("peers").push_str(&array.finish());
    object.finish() + "\n"
}

type Fields = [(&'static str, Option<String>); 5];

fn line(member: &Member<SocketAddr>, fields: &Fields) -> String {
    let mut line = member.address.to_string();
    for (name, value) in fields {
        let value = value.as_deref().unwrap_or("unknown");
        write!(line, " {name}={value}").expect("writing to memory cannot fail");
    }
    line + "\n"
}

fn object(member: &Member<SocketAddr>, fields: &Fields) -> String {
    let mut object = json::Members::object();
    json::string(object.named("address"), &member.address.to_string());
    for (name, value) in fields {
        let out = object.named(name);
        match value {
            Some(value) if matches!(*name, "node" | "state") => json::string(out, value),
            value => out.push_str(value.as_deref().unwrap_or("null")),
        }
    }
    object.finish()
}

fn fields(member: &Member<SocketAddr>, process: Option<&Process>, now_ms: u64) -> Fields {
    let state = |process: &Process| if process.agreed { "agree" } else { "differ" };
    let elapsed_ms = process.map(|process| now_ms.saturating_sub(process.at_ms).to_string());
    let offset_ms = process.and_then(|process| process.clock_offset_ms);
    [
        ("node", member.node.map(|node| format!("{node:08x}"))),
        ("lastExchangeMs", elapsed_ms),
        ("state", process.map(|process| state(process).to_owned())),
        ("clockOffsetMs", offset_ms.map(|offset_ms| offset_ms.to_string())),
        ("failures", Some(member.failures.to_string())),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::exchange::Summary;

    #[test]
    fn members_are_written_for_people_and_as_json() {
        let [first, second] = [1, 2].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        let mut members = Members::default();
        members.set_addresses(&[first, second]);
        let _ = members.failed(second);
        let summary = Summary {
            peer: Some(0x1a),
            complete: true,
            clock_offset_ms: Some(-3),
            ..Summary::default()
        };
        members.record_exchange(Some(first), &summary, 1_000);
        assert_eq!(
            write(&members, false, 1_040),
            "127.0.0.1:1 node=0000001a lastExchangeMs=40 state=agree clockOffsetMs=-3 failures=0\n\
             127.0.0.1:2 node=unknown lastExchangeMs=unknown state=unknown clockOffsetMs=unknown failures=1\n"
        );
        assert_eq!(
            write(&members, true, 1_040),
            concat!(
                r#"{"peers":[{"address":"127.0.0.1:1","node":"0000001a","lastExchangeMs":40,"state":"agree","#,
                r#""clockOffsetMs":-3,"failures":0},{"address":"127.0.0.1:2","node":null,"#,
                r#""lastExchangeMs":null,"state":null,"clockOffsetMs":null,"failures":1}]}"#,
                "\n"
            )
        );
    }
}
