"""runnerd.backends.llamacpp.flags: what an owner may put on the command line."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runnerd.backends.llamacpp.flag_table import FLAGS
from runnerd.backends.llamacpp.flags import parse_flags, spelled
from runnerd.errors import InvalidConfiguration

COVERS = ("runnerd.backends.llamacpp.flag_table",)

NAMES = sorted({name for flag in FLAGS for name in (flag.name, *flag.aliases)})
FORBIDDEN = """
    -m --model -mu --model-url -hf --hf-repo -hff --hf-file -hft --hf-token -dr --docker-repo --host
    --port --log-file --log-prompts-dir --lora --lora-scaled --control-vector
    --grammar-file -jf --json-schema-file --api-key --api-key-file --ssl-key-file
    --ssl-cert-file --slot-save-path --path --media-path --models-dir --models-preset --api-prefix
    --rpc --mmproj --mmproj-url -mmu -md --model-draft --spec-draft-model --spec-draft-hf --tools
    --tools-runtime --mcp-servers-config --mcp-servers-json --agent --props --metrics
    --chat-template-file --ui-config-file --video-ffmpeg-dir -lcs --lookup-cache-static -lcd
    --embd-gemma-default --fim-qwen-3b-default --alias -a --tags
    --ctx-size -c --embeddings --reranking --verbose -v --log-disable --log-jsonl --reuse-port
    --cors-origins
    --version --sleep-idle-seconds --ui --spec-synth-len --control-vector-layer-range
""".split()


@pytest.mark.parametrize(
    ("given", "tokens"),
    [
        (["--temp", "0.7"], ["--temp", "0.7"]),
        (["--temperature=0.70"], ["--temp", "0.7"]),
        (["-ngl", "99", "--no-mmap"], ["--n-gpu-layers", "99", "--no-mmap"]),
        (["-ngl", "all"], ["--n-gpu-layers", "all"]),
        (["-fa"], ["--flash-attn", "on"]),
        (["-fa", "--jinja"], ["--flash-attn", "on", "--jinja"]),
        (["--flash-attn", "auto"], ["--flash-attn", "auto"]),
        (["--seed", "-1"], ["--seed", "-1"]),
        (["--top-k", "+007"], ["--top-k", "7"]),
        (["-ts", "3,1"], ["--tensor-split", "3,1"]),
        (["--device", "CUDA0,CUDA1"], ["--device", "CUDA0,CUDA1"]),
        (["--samplers", "top_k;temperature"], ["--samplers", "top_k;temperature"]),
        (["--chat-template", "chatml"], ["--chat-template", "chatml"]),
        (["--logit-bias", "15043-1"], ["--logit-bias", "15043-1"]),
        (
            ["-ot", r"blk\.(1|2)\.ffn_.*_exps\.=CPU"],
            ["--override-tensor", r"blk\.(1|2)\.ffn_.*_exps\.=CPU"],
        ),
        (
            ["--override-kv", "tokenizer.ggml.add_bos_token=bool:false"],
            ["--override-kv", "tokenizer.ggml.add_bos_token=bool:false"],
        ),
        (
            ["--chat-template-kwargs", '{ "enable_thinking": false }'],
            ["--chat-template-kwargs", '{"enable_thinking":false}'],
        ),
        (["--draft-max", "8"], ["--spec-draft-n-max", "8"]),
        (["--no-slots", "--backend-sampling"], ["--no-slots", "--backend-sampling"]),
        (["--grammar", 'root ::= "a"\n'], ["--grammar", 'root ::= "a"\n']),
        ([], []),
    ],
)
def test_accepted(given: list[str], tokens: list[str]) -> None:
    """Both forms and every name become the canonical tokens."""
    assert parse_flags(given) == tokens


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--log-file=/tmp/x"], "'--log-file' is not allowed: runnerd reads the engine's log"),
        (["--lora", "x"], "adapters belong to a model"),
        (["-hf", "a/b"], "runnerd pull"),
        (["--metrics"], "it is always on; the daemon's own /metrics"),
        (["--sleep-idle-seconds", "9"], "use keep_alive"),
        (["--spec-ngram-size-n", "3"], "--spec-ngram-simple-size-n"),
        (["--from-next-year"], "has not been looked at"),
        (["--log-verbosity", "5"], "is not a whole number from 1 to 3"),
        (["--override-tensor", "x=/etc/passwd"], "is not up to 64 of PATTERN=BUFFER"),
        (["--override-tensor", "(a+)+=CPU"], "without a repeated repetition"),
        (["--override-tensor", "((a|b)*c)*=CPU"], "without a repeated repetition"),
        (["--override-tensor", "[=CPU"], "PATTERN=BUFFER"),
        (["--override-kv", "a.b=int:x"], "is not up to 32 values"),
        (["--override-kv", "a.b=str:/etc"], "is not up to 32 values"),
        (["--chat-template-kwargs", "[1]"], "is not a JSON object"),
        (["--chat-template-kwargs", '{"a": NaN}'], "is not a JSON object"),
        (["--chat-template-kwargs", '{"a":' * 20 + "1" + "}" * 20], "is not a JSON object"),
        (["--chat-template-kwargs", '{"a":' + "[" * 9000], "is not a JSON object"),
        (["--json-schema", '{"enum":[' + "1," * 1001 + "1]}"], "is not a JSON object"),
        (["--reverse-prompt=--rpc"], "does not begin with a dash"),
        (["--grammar", "root ::= \x00"], "is not text"),
        (["--seed=--log-file=x"], "--seed: '--log-file=x' is not a whole number"),
        (["--seed", "--log-file"], "--seed needs a value"),
        (["-lx"], "'-lx' is not allowed"),
        (["--temprature", "1"], "did you mean --temperature"),
        (["--ctx-size", "4096"], "use context-size"),
        (["--top-k"], "--top-k needs a value: a whole number from 0"),
        (["--top-k", "x"], "--top-k: 'x' is not a whole number"),
        (["--top-k", "-1"], "--top-k: '-1' is not a whole number from 0"),
        (["--mirostat", "3"], "--mirostat: '3' is not a whole number from 0 to 2"),
        (["--top-p", "1.5"], "--top-p: '1.5' is not a number from 0 to 1"),
        (["--temp", "nan"], "not a number"),
        (["--temp", "1e99"], "not a number"),
        (["--top-k", "\u0663"], "not a whole number"),
        (["--jinja=1"], "--jinja takes no value"),
        (["--jinja", "1"], "'1' is no flag"),
        (["--chat-template", "{{ x }}"], "is not one of"),
        (["--chat-template", "/etc/passwd"], "is not one of"),
        (["--device", "../x"], "is not up to 32 values"),
        (["LLAMA_ARG_HOST=x"], "'LLAMA_ARG_HOST' is no flag"),
        (["--"], "not allowed"),
        ([""], "is no flag"),
        (["--temp "], "not allowed"),
        (["--TEMP", "1"], "not allowed"),
        (["-" * 10000], "not allowed"),
    ],
)
def test_refused(given: list[str], message: str) -> None:
    """What is not in the table, or not of the flag's type, is refused with the reason."""
    with pytest.raises(InvalidConfiguration) as caught:
        parse_flags(given)
    assert message in caught.value.message
    assert len(caught.value.message) < 800
    assert caught.value.param == "runtime-flags"


@pytest.mark.parametrize("name", FORBIDDEN)
def test_dangerous_flags_are_not_in_the_table(name: str) -> None:
    """Files, addresses, models and the server's surface are not an owner's to set."""
    for flags in ([name], [name, "x"], [f"{name}=x"]):
        with pytest.raises(InvalidConfiguration, match="not allowed"):
            parse_flags(flags)


def test_the_table_is_sound() -> None:
    """Every name is an option, and belongs to one flag."""
    every = [name for flag in FLAGS for name in (flag.name, *flag.aliases)]
    assert len(every) == len(set(every))
    assert len(FLAGS) >= 60
    assert all(re.fullmatch(r"--?[A-Za-z][a-z0-9-]*", name) for name in every)


_VALUES = st.one_of(
    st.text(max_size=20),
    st.integers().map(str),
    st.floats().map(str),
    st.sampled_from(
        [
            *FORBIDDEN,
            *NAMES,
            "on",
            "off",
            "auto",
            "chatml",
            "/etc/passwd",
            "http://x",
            "a,b",
            "none",
            "q8_0",
            "1,2",
            "..",
            "top_k;dry",
            "5+1",
            '{"a": 1}',
            "x=CPU",
            "a.b=int:1",
        ]
    ),
)
_TOKENS = st.one_of(
    st.sampled_from(NAMES),
    _VALUES,
    st.builds("{}={}".format, st.sampled_from([*NAMES, *FORBIDDEN]), _VALUES),
)


@given(st.lists(_TOKENS, max_size=6))
def test_whatever_is_accepted_is_harmless(flags: list[str]) -> None:
    """Accepted tokens hold no forbidden option, no path, no URL and no blanks."""
    try:
        tokens = parse_flags(flags)
    except InvalidConfiguration:
        return
    names = {flag.name for flag in FLAGS}
    for token in tokens:
        assert token not in FORBIDDEN
        assert token in names or not re.match(r"-[^0-9.]", token)
        assert not re.search(r"[/\\\s=]|\.\.|://", token)
        assert token.isascii()
        assert token.isprintable()
    assert parse_flags(tokens) == tokens


def test_an_engine_that_lacks_a_flag_is_named() -> None:
    """When the flag is configured, not when the model is loaded."""
    options = {"--ctx-size", "--temp", "--no-mmap"}
    assert spelled(["--no-mmap", "--temp", "1"], options) == ["--no-mmap", "--temp", "1"]
    with pytest.raises(InvalidConfiguration, match=r"--jinja: .*\(llama.cpp 7\) does not have it"):
        spelled(["--jinja"], options, "7")
    assert spelled(["--jinja"], {"--other"}) == ["--jinja"]  # its help was not understood
