"""What the daemon shows of itself: events as they happen, figures for monitoring.

It is told where decisions are carried out, reads what is kept there anyway, and decides nothing.
Nothing in it waits, fails or grows: who tells it something pays for an append.
"""
