"""A build is tried, not believed.

A compiler takes the instructions that the processor announces, and a virtual machine may announce
what it traps (AMX above all).  Only loading a model and asking it tells.  So an engine that has not
been seen on this processor loads tiny models of every kind that takes another code path and
answers; the *verdict* is kept under the identity of processor, kernel, driver and engine files, so
that the next time costs a few `stat`s.
"""
