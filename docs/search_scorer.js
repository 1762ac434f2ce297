// How the site's search orders its hits. Sphinx gives a page 15 as soon as one of the words is in any of its headings, and
// sorts what is equal by title. Among equals a how-to comes first here, and pages about the project come last.
var Scorer = {
    score: ([page, , , , score]) => {
        if (page.startsWith("howto/")) return score + 0.5;
        return /^(architecture|benchmarks|fault-matrix)$/.test(page) ? score - 0.5 : score;
    },
    // what follows is Sphinx's own
    objNameMatch: 11,
    objPartialMatch: 6,
    objPrio: {0: 15, 1: 5, 2: -5},
    objPrioDefault: 0,
    title: 15,
    partialTitle: 7,
    term: 5,
    partialTerm: 2,
};
