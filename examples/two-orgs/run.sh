#!/usr/bin/env bash
# Two organisations meet, agree, exchange, and part: the by-hand story of the README.
# Runs on one machine, with two data directories and loopback addresses.
set -euo pipefail
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
pids=()
cleanup() {
	for p in "${pids[@]}"; do kill "$p" 2>/dev/null || true; done
	wait 2>/dev/null || true
	rm -rf "$work"
}
trap cleanup EXIT
go build -o "$work/entente" ./cmd/entente
vendor() { "$work/entente" --dir "$work/vendor" "$@"; }
police() { "$work/entente" --dir "$work/police" "$@"; }
say() { printf '\n== %s\n' "$*"; }

say "Each founds its organisation, and writes its card"
vendor init --name "Example Vendor" --kind vendor --country DE --root-file "$work/vendor-root.txt"
police init --name "Example Police" --kind police --country TH --root-file "$work/police-root.txt"
vendor id --card "$work/vendor.pem"
police id --card "$work/police.pem"

say "The vendor founds a network and invites the police; both nodes come up"
vendor network create example
vendor up --listen /ip4/127.0.0.1/udp/0/quic-v1 --listen /ip4/127.0.0.1/tcp/0 >"$work/vendor.log" 2>&1 &
pids+=($!)
until grep -q listening "$work/vendor.log"; do sleep 0.1; done
vendor network invite "$work/police.pem" -o "$work/invitation.pem"
police network join "$work/invitation.pem"
police up --listen /ip4/127.0.0.1/udp/0/quic-v1 --listen /ip4/127.0.0.1/tcp/0 >"$work/police.log" 2>&1 &
pids+=($!)
until grep -q listening "$work/police.log"; do sleep 0.1; done

say "They compare their words by phone, and trust each other"
words() { sed -n 's/^ *words *//p'; }
vendor trust "$work/police.pem" --words "$(police id | words)"
police trust "$work/vendor.pem" --words "$(vendor id | words)"

say "The vendor drafts an agreement, checks it, and proposes it"
vendor agreement new --with "Example Police" > "$work/a.yaml"
vendor agreement check "$work/a.yaml"
vendor agreement propose "$work/a.yaml"
until police agreement inbox --json | grep -q '"id"'; do sleep 0.2; done
id=$(police agreement inbox --json | sed -n 's/^ *"id": "\(agr[^"]*\)".*/\1/p' | head -1)
police agreement show "$id"
police agreement countersign "$id"
until vendor agreement show "$id" | grep -q 'State: in force'; do sleep 0.2; done

say "Both join the topic; the vendor publishes"
vendor topic join c2
police topic join c2
cat > "$work/list.txt" <<'LIST'
# command and control servers, seen this week
198.51.100.7:443
hxxp://203[.]0[.]113[.]9/gate.php
c2.example.net
LIST
vendor publish "$work/list.txt" --topic c2 --tlp amber --country TH --personal none --yes
until police search c2.example.net | grep -q indicator; do sleep 0.2; done
police search 203.0.113.9
rec=$(police search c2.example.net --json | sed -n 's/^ *"id": "\(rec[^"]*\)".*/\1/p' | head -1)
police explain "$rec"
vendor explain "$rec"
police export --format lines

say "The vendor ends the agreement; what it publishes then, the police cannot read"
vendor agreement terminate "$id" --reason "end of the exercise"
echo late.example.net > "$work/late.txt"
vendor publish "$work/late.txt" --topic c2 --tlp amber --country TH --personal none --yes
until police agreement show "$id" | grep -q 'State: terminated'; do sleep 0.2; done
want=$(vendor status --json | sed -n 's/^ *"envelopes": \([0-9]*\).*/\1/p')
until [ "$(police status --json | sed -n 's/^ *"envelopes": \([0-9]*\).*/\1/p')" = "$want" ]; do sleep 0.2; done
until police status --json | grep -q '"pending": 0'; do sleep 0.2; done
police search late.example.net | grep -q 'nothing found'
police search c2.example.net | grep -q indicator
say "The late record is held by the police as an envelope, and cannot be opened. Done."
