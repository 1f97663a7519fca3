"""The figure and the table of a paper, made of the finished runs of exp_decay; run that one first."""

from matplotlib.figure import Figure
from tabulate import tabulate

from expedition import experiment

WHERE: str = "decays >= 100"  # the runs that the paper shows


@experiment
def exp_paper(e, results):
    try:
        runs = results("exp_decay", where=WHERE)
    except LookupError as nothing:
        e.skip(str(nothing))
    deviations = runs.to_pandas(["decays", "deviation"]).groupby("decays")["deviation"]
    table = deviations.agg(lambda deviation: (deviation**2).mean() ** 0.5).to_frame("error")
    table["expected"] = table.index**-0.5
    table["runs"] = deviations.size()
    e["table"] = table

    e.commit_raw("errors.tex", tabulate(table, headers="keys", tablefmt="latex_booktabs", floatfmt=".4f"))
    figure = Figure(figsize=(4, 3), layout="constrained")
    axes = figure.subplots()
    axes.loglog(table.index, table["error"], "o", label="measured")
    axes.loglog(table.index, table["expected"], "-", color="0.6", label=r"$1/\sqrt{n}$")
    axes.set(xlabel="counted decays n", ylabel="relative error of the half-life")
    axes.legend()
    e.commit_fig("errors.pdf", figure)
