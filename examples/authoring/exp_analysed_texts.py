"""Which text is the longest? Asked when the run has ended, and again by `python analysis.py` in its folder."""

import json

from expedition import RunRecord, experiment

NUM_WORDS = 1000

analysed_texts = experiment.extend("exp_texts.py")


@experiment.analysis
def compare(record: RunRecord) -> None:
    length = record.series["length"].value
    found = {
        "shortest": [int(length.argmin()), int(length.min())],
        "longest": [int(length.argmax()), int(length.max())],
        "mean": float(length.mean()),
    }
    (record.path / "analysis_results.json").write_text(json.dumps(found), encoding="utf-8")
    print(record.path.name, found)
