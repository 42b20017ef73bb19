"""What every test relies on: no network, two threads, a small random model, a server that speaks
OpenAI's chat completions."""

from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ.setdefault("OMP_NUM_THREADS", "2")

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random Qwen3 (2 layers, hidden 32), a tokenizer and a chat template."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

    folder = tmp_path_factory.mktemp("tiny-qwen3")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        show_progress=False,
    )
    tokenizer.train_from_iterator(["The lighthouse keeper knows the tide and the wind."], trainer)
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>")
    wrapped.chat_template = CHAT_TEMPLATE
    wrapped.save_pretrained(folder)

    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=len(wrapped),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=wrapped.eos_token_id,
        pad_token_id=wrapped.convert_tokens_to_ids("<|endoftext|>"),
    )
    Qwen3ForCausalLM(config).save_pretrained(folder)
    return folder


Say = Callable[[dict[str, Any]], str]
"""A request's body -> the answer's text."""


def source_of(body: dict[str, Any]) -> str:
    """The sources that a request quotes."""
    asked = body["messages"][-1]["content"]
    return "\n".join(re.findall(r"SOURCE (\w+)\n(.*?)\nEND \1", asked, re.DOTALL)[0][1:])


def well(body: dict[str, Any]) -> str:
    """A right answer to every kind of request: the words of the source turned round."""
    kind = body["response_format"]["json_schema"]["name"]
    if kind == "chat":
        number = abs(hash(body["messages"][-1]["content"])) % 10**6
        return json.dumps({"question": f"What is {number}?", "answer": "It is a number."})
    sentences = re.findall(r"[A-Z][^.]*\.", source_of(body))
    if kind in ("rewrite", "relation"):
        style = body["messages"][-1]["content"].splitlines()[0][:40].lower()
        return json.dumps({"text": f"As it is known ({style}): {' And '.join(sentences[::-1])}"})
    depths = re.findall(r"^- (\w+):", body["messages"][-1]["content"], re.MULTILINE)
    pairs = [
        {"depth": depth, "question": f"What is to {depth} here: {sentence}?", "answer": sentence}
        for depth, sentence in zip(depths, sentences, strict=False)
    ]
    return json.dumps({"pairs": pairs})


class Server:
    """Attributes:
    asked: the bodies of all requests, in order; ``keys``: their keys, ``times``: when they came.
    say: what is answered.
    raw: in the place of a completion.
    statuses: of the next responses; then 200.
    """

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.times: list[float] = []
        self.statuses: list[int] = []
        self.headers: dict[str, str] = {}
        self.say: Say = well
        self.raw: bytes | None = None
        self.usage: dict[str, int] | None = {"prompt_tokens": 100, "completion_tokens": 20}
        self.drip = 0.0
        self._lock = threading.Lock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with server._lock:
                    server.asked.append(body)
                    server.keys.append(self.headers.get("Authorization"))
                    server.times.append(time.monotonic())
                    status = server.statuses.pop(0) if server.statuses else 200
                answer = server.answer(body) if status == 200 else b'{"error": "sk-secret, no"}'
                self.send_response(status)
                for name, value in server.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                try:
                    for part in range(0, len(answer), 10) if server.drip else ():
                        self.wfile.write(answer[part : part + 10])
                        time.sleep(server.drip)
                    if not server.drip:
                        self.wfile.write(answer)
                except OSError:  # who asked does not wait any longer
                    return

            def log_message(self, *_: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def answer(self, body: dict[str, Any]) -> bytes:
        if self.raw is not None:
            return self.raw
        completion: dict[str, Any] = {"choices": [{"message": {"content": self.say(body)}}]}
        if self.usage:
            completion["usage"] = self.usage
        return json.dumps(completion).encode()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    made = Server()
    yield made
    made.close()
