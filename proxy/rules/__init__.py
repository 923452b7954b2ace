"""Every decision about one exchange: no I/O, no clock, no await."""
