"""The proxy beside its peers, measured in one run on one machine. Not part of the wheel.

payloads.py      what is asked for, and how it must arrive
peer.py          a proxy that is measured: where it stands, and how it is started
nginx.py         nginx: the upstream of all, and the measure of the others
others.py        HAProxy, Caddy, mitmproxy, and two for Node
peers.py         all of them, with our own
plain_proxy.py   one of them: the proxy that one would write with aiohttp in twenty lines
certificate.py   the upstream's certificate
processes.py     a running peer: its CPU time and memory, by the kernel's accounting
load.py          wrk, and one large download
rounds.py        all peers in turn, round by round
installed.py     the program as pip installs it, with compiled modules
report.py        Markdown, JSON and charts
chart.py         bars in SVG
crowd.py         many tools at once: a slow server, idle connections, the first sign-in
slow_server.py   a server that thinks before each answer
http2.py         HTTP/2 to the upstream, beside HTTP/1.1
instructions.py  instructions a request, by callgrind: the number that does not depend on the machine's mood
sizing.py        many sidecars on paper: token requests, connections, memory; writes the tables of docs/sizing.md
"""
