"""The proxy beside its peers, measured in one run on one machine. Not part of the wheel.

payloads.py      what is asked for, and how it must arrive
peers.py         the proxies: how each is configured and started
plain_proxy.py   one of them: the proxy that one would write with aiohttp in twenty lines
processes.py     a running peer: its CPU time and memory, by the kernel's accounting
load.py          wrk, and one large download
rounds.py        all peers in turn, round by round
report.py        Markdown, JSON and charts
instructions.py  instructions a request, by callgrind: the number that does not depend on the machine's mood
sizing.py        many sidecars on paper: token requests, connections, memory; writes the tables of docs/sizing.md
"""
