"""Runs an experiment from a program and goes on with its record: `python run_texts.py`."""

from pathlib import Path

import expedition

if __name__ == "__main__":
    (record,) = expedition.run(Path(__file__).with_name("exp_texts.py"), params={"NUM_WORDS": 5})
    print(record.status, record.series["length"].value, record.path)
