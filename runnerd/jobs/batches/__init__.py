"""Batches: files of requests that become jobs, one for each line, and files of what came of them.

A *file* is what somebody has uploaded, on the disk and in a row of the database.  A *batch* is a
group of jobs that were made of one file; what it gives back is not kept twice: it is read from its
jobs when somebody asks for it.
"""
