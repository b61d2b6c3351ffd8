"""The words and signs that the classifier counts: data only, read by `estimate.features`.

English first; German, French, Spanish, Italian, Portuguese and Russian get the common words of the same meaning, in the
spelling with and without their usual endings (no stemmer: a table look-up per word is what keeps this fast). Chinese
and Japanese have no spaces, so their signs are looked for as substrings. A word stands in exactly one list. A language
without a list is judged by length, code, maths symbols, tools and turns alone.
"""

from __future__ import annotations

from enum import IntEnum


class Sign(IntEnum):
    """The kind of sign that a word or symbol is. No value is 0, so that only a missing entry is falsy."""

    QUESTION = 1
    REASONING = 2
    WORK = 3
    LOGIC = 4
    CONSTRAINT = 5
    CODE = 6
    CODE_SYMBOL = 7
    MATHS = 8
    MATHS_SYMBOL = 9
    PROOF = 10


_QUESTION = """
what when where who whom whose which how
wann wo wer wem wen welche welcher welches wie wieviel quoi quand où qui quel quelle quels quelles comment combien
qué cuándo dónde quién cuál cuáles cómo cuántos cuántas что когда где кто какой какая сколько как
"""

# A chain of reasoning in which one wrong step spoils the whole.
_PROOF = """
prove proves proved proving proof proofs disprove derive derives deriving derivation derivations deduce deduction
refute refutes counterexample counterexamples rigorous rigorously converse undecidable decidable linearizable
beweise beweisen beweis herleiten herleitung widerlege
démontrer démontrez démontre prouver prouvez prouve dériver déduire démonstration
demuestra demostrar demuestre demostración derivar deducir
dimostra dimostrare dimostri dimostrazione dedurre demonstre demonstrar demonstra demonstração deduzir
докажи докажите доказать доказательство выведи вывести
"""

# Analysis, design, justification, search for causes.
_REASONING = """
infer
contradiction induction generalise generalize
justify justifies justification justifications reason reasons reasoning rationale argument arguments argue step steps
analyse analyze analysing analyzing analysis analyses evaluate evaluating evaluation assess assessment critique valid
validity optimise optimize optimising optimizing optimisation optimization optimal minimise minimize maximise maximize
design designs designing architect architecture strategy strategies plan planning tradeoff tradeoffs offs
diagnose debug debugging investigate investigation cause causes hypothesis hypotheses verify verifies verification
implication implications consequences simulate scenarios scenario experiment confounders sensitivity
complexity correctness consistency guarantee guarantees risks
leite ableiten begründe begründen begründung schritte schrittweise
analysiere analysieren bewerte bewerten bewertung entwirf entwerfen optimiere optimieren risiken strategie
preuve justifier justifiez étapes étape
analyser analysez évaluer évaluez concevoir concevez optimiser récurrence stratégie raisonnement
prueba justifica justificar pasos paso analiza analizar
evalúa evaluar diseña diseñar optimizar razonamiento estrategia
analizza analizzare valuta valutare progetta progettare passo strategia
analise avalie avaliar projete projetar estratégia
обоснуй обосновать проанализируй анализ оцени спроектируй
"""

# A piece of work with several steps, short of reasoning that must hold together.
_WORK = """
explain explains explaining explanation why describe describes compare compares comparing comparison contrast
difference differences differ discuss summarise summarize summary outline draft write create build develop implement
implementing implementation generate review improve improvements suggest recommend recommendation refactor rewrite
solve calculate compute estimate restructure migrate itinerary essay story
pros cons advantages disadvantages example examples detail details detailed happening
erkläre erklären erläutere warum weshalb unterschied unterschiede vergleiche vergleichen beschreibe schreibe schreiben
entwickle erstelle berechne löse zusammenfassung beispiel beispiele vorteile nachteile
explique expliquez expliquer pourquoi différence différences comparez comparer décris décrivez écris écrivez rédige
avantages inconvénients calculez résumé résous exemple exemples
explica explicar diferencia diferencias comparar escribe escribir desarrolla calcula resume resuelve
ventajas desventajas ejemplo ejemplos
spiega spiegare perché differenza differenze confronta confrontare scrivi scrivere descrivi
calcola riassumi risolvi esempio
diferença diferenças porquê escreva escrever descreva calcule resuma resolva exemplo vantagens desvantagens
объясни объясните объяснить почему разница разницу сравни сравнить опиши напиши напишите рассчитай реши
"""

_LOGIC = """
if unless whether then else therefore hence thus either neither nor otherwise implies iff whenever assuming assume
assumption assumptions suppose given because although however provided implied conversely every
wenn falls sofern daher deshalb entweder weder sonst angenommen obwohl jedoch dass
si sauf donc soit sinon supposons parce cependant lorsque alors
entonces porque aunque excepto supongamos cada
allora quindi perciò altrimenti supponiamo então portanto senão suponha
если иначе следовательно либо потому однако каждый
"""

_CONSTRAINT = """
must mustn exactly only without least maximum minimum max min limit limits limited never always except
excluding excludes within ensure ensures require required requires requirement requirements constraint
constraints budget deadline
fewer avoid include includes including should cannot below under above between mention contain contains keep stable
muss müssen darf dürfen höchstens mindestens genau nur ohne niemals immer außer begrenzt
doit doivent exactement seulement sans jamais toujours inclure éviter moins
debe deben exactamente solo máximo mínimo nunca siempre incluir evitar
deve devono esattamente massimo minimo senza almeno evitare devem exatamente sem apenas sempre
должен должна должны только без максимум минимум никогда всегда
"""

_CODE = """
python javascript typescript java rust golang kotlin swift php ruby bash shell powershell sql html css regex json yaml
xml def elif lambda const async await println printf struct enum void null nullptr boolean traceback exception
exceptions typeerror valueerror segfault stacktrace undefined function functions func method methods variable
variables parameter class classes module modules parser compiler compile algorithm algorithms script scripts query
queries schema database api apis endpoint webhook backend frontend framework docker dockerfile kubernetes helm flask
django react numpy pandas unit unittest pytest test tests mutex thread threads deadlock deadlocks goroutine goroutines
atomic queue cache lock commit repository repo bug bugs code coding
funktion klasse fehler fonction funcion función clase código функция функцию код
"""

_MATHS = """
theorem theorems lemma corollary axiom conjecture equation equations inequality integral integrals derivative
derivatives integrate differentiate differential matrices matrix determinant eigenvalue eigenvalues vector vectors
polynomial polynomials logarithm exponent factorial probability variance estimator covariance distribution expectation
prime primes integer integers irrational rational modulo congruent convergent converges convergence continuous finite
bounded cauchy metric topology manifold sqrt sin cos tan log triangle angle hypotenuse
satz gleichung gleichungen ableitung wahrscheinlichkeit primzahlen primzahl wurzel
théorème théorèmes équation équations dérivée intégrale probabilité premiers entiers carré carrée
irrationnel irrationnelle racine racines
teorema teoremas ecuación ecuaciones derivada probabilidad primos enteros conjunto irracional raíz cuadrada
equazione equazioni derivata probabilità primi interi irrazionale radice equação equações raiz inteiros
теорема уравнение уравнения производная интеграл вероятность корень иррационален простых
"""

_CODE_SYMBOLS = "{ } ; ` => -> == != <= >= := += -= () && || :: ``` </ < >"
_MATHS_SYMBOLS = "= ^ \\ ∀ ∃ ∈ ∉ ∑ ∏ ∫ √ ∞ ≤ ≥ ≠ ≈ ≡ → ⇒ ⇔ ∂ ∇ ⊂ ⊆ ∪ ∩"

# Substrings of Chinese and Japanese; both scripts of Chinese where they differ.
_CJK = {
    Sign.QUESTION: "什么 什麼 哪里 哪裡 谁 多少 怎么 何 どこ いつ 誰",
    Sign.PROOF: "证明 證明 証明 推导 推導 导出",
    Sign.REASONING: "分析 论证 論証 评估 評価 设计 設計 优化 最適 逐步 步骤 权衡 策略",
    Sign.WORK: "解释 解釋 为什么 為什麼 比较 比較 区别 區別 描述 总结 總結 写一 寫一 实现 說明 说明 説明"
    " 書いて なぜ 違い",
    Sign.LOGIC: "如果 否则 因此 所以 除非 假设 假設 もし したがって",
    Sign.CONSTRAINT: "必须 必須 至少 最多 不得 只能 不能 要求 以内 以下 以上",
    Sign.CODE: "函数 函數 関数 代码 程式 算法 分布式 分散 数据库 缓存 字符串",
    Sign.MATHS: "定理 方程 积分 積分 导数 概率 確率 矩阵 行列 无理数 無理数 素数 根号 收敛",
}

# A last turn of only these words asks for nothing, even after a hard question. "yes", "ok" and "go on" are not enough:
# after a question of the assistant, they ask for all of the work.
_PLEASANTRIES = """
hi hello hey hiya greetings morning afternoon evening night thanks thank thx cheers bye goodbye
hallo moin guten tag morgen abend danke tschüss bonjour bonsoir salut merci revoir hola buenos días gracias adiós
ciao grazie olá obrigado obrigada привет здравствуйте спасибо пока
"""
_PLEASANTRY_FILLERS = """
there good you so much very a lot again all everyone team ok okay great perfect nice cool awesome lovely
that is it now for your help the day have schön sehr vielen dank beaucoup bien au muchas большое
"""


def _table() -> dict[str, Sign]:
    lists = {
        Sign.QUESTION: _QUESTION,
        Sign.PROOF: _PROOF,
        Sign.REASONING: _REASONING,
        Sign.WORK: _WORK,
        Sign.LOGIC: _LOGIC,
        Sign.CONSTRAINT: _CONSTRAINT,
        Sign.CODE: _CODE,
        Sign.CODE_SYMBOL: _CODE_SYMBOLS,
        Sign.MATHS: _MATHS,
        Sign.MATHS_SYMBOL: _MATHS_SYMBOLS,
    }
    return {word: sign for sign, words in lists.items() for word in words.split()}


SIGNS: dict[str, Sign] = _table()
"""The sign of each lower-case word or symbol."""

CJK: dict[str, Sign] = {phrase: sign for sign, phrases in _CJK.items() for phrase in phrases.split()}
"""The sign of each substring of Chinese or Japanese."""

PLEASANTRIES = frozenset(_PLEASANTRIES.split())
"""Words of which a greeting or thanks must hold at least one."""

PLEASANTRY_FILLERS = frozenset(_PLEASANTRY_FILLERS.split())
"""Words that may stand beside them."""
