"""Commands that ask models which do not chat: embed, rerank."""

from __future__ import annotations

import argparse
import sys

from runnerd.cli.client import Client
from runnerd.cli.tables import print_json, print_table
from runnerd.errors import ClientError


def embed(options: argparse.Namespace) -> int:
    """Print the vector of each text, as JSON; texts are arguments, or lines of standard input."""
    texts = _given(options.text)
    document: dict[str, object] = {"model": options.model, "input": texts}
    if options.dimensions:
        document["dimensions"] = options.dimensions
    response = Client(options.host).json("POST", "/v1/embeddings", document)
    if options.json:
        print_json(response)
        return 0
    for entry in response["data"]:
        print(f"[{', '.join(f'{number:.7g}' for number in entry['embedding'])}]")
    return 0


def rerank(options: argparse.Namespace) -> int:
    """Print documents by how well they fit a question, best first."""
    documents = _given(options.document)
    question = {"model": options.model, "query": options.query, "documents": documents}
    if options.top:
        question["top_n"] = options.top
    response = Client(options.host).json("POST", "/v1/rerank", question)
    results = sorted(response["results"], key=lambda result: -result["relevance_score"])
    if options.json:
        print_json({**response, "results": results})
        return 0
    rows = [
        (f"{result['relevance_score']:.4f}", result["index"] + 1, documents[result["index"]])
        for result in results
    ]
    print_table(("SCORE", "NUMBER", "DOCUMENT"), rows)
    return 0


def _given(arguments: list[str]) -> list[str]:
    """The arguments, else the lines of standard input that have something.

    Raises errors.ClientError where there are none.
    """
    texts = arguments
    if not texts and not sys.stdin.isatty():
        texts = [line for raw in sys.stdin if (line := raw.strip())]
    if not texts:
        raise ClientError("there is no text: give some, or pipe them in, one a line")
    return texts
