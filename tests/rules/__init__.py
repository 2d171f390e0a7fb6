"""Rules about the code that no ready-made linter knows; `python -m tests.rules` looks at them all.

A rule is a function that yields one sentence for each place that breaks it.  What is known to
break a rule is listed beside it, and an entry that is not needed any more breaks the rule, too:
lists only get shorter.
"""
