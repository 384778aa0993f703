"""Words that carry grammar, not subject, in English, German, French and Spanish; folded to lower case.

A word that means something in one of the languages is left out of all (`war`, `sale`, `main`).
"""

_ENGLISH = """
a about above after again against all almost already also although always am an and another any anybody anyone
anything are aren't as at away back be because been before being below between both but by can can't cannot could
couldn't did didn't do does doesn't doing don't done down during each either else enough even ever every everybody
everyone everything few for from further get gets give gives given go goes going got had has hasn't have haven't
having he he's her here hers herself him himself his how however i i'm i've if in into is isn't it it's its itself
just less let like made make makes many may maybe me might mine more most much must my myself neither never next no
nobody none nor not nothing now of off often on once one ones only onto or other others our ours out over own
perhaps quite rather said same say says shall she she's should since so some somebody someone something sometimes
still such than that that's the their theirs them themselves then there these they this those though through thus
to together too toward towards under until unto up upon us very was wasn't we well were weren't what when where
whereas whether which while who whoever whole whom whose why will with within without won't would wouldn't yet you
your yours
"""
_GERMAN = """
aber alle allem allen aller alles als ander andere anderem anderen auch auf aus bei beim bis bist da dabei
damit danach dann das dass dein dem den denn der des dessen die dies diese diesem diesen dieser dieses doch dort du
durch ein eine einem einen einer eines er es etwa etwas euch euer für gegen gibt hab habe haben hat hatte hatten
hier ich ihm ihn ihnen ihr ihre ihrem ihren ihrer im immer ins ist ja jede jedem jeden jeder jedes jetzt kann
kein keine keinem keinen können mehr mein mich mir mit muss müssen nach nicht nichts noch nun nur ob oder ohne
schon sehr sei sein seine seinem seinen seiner seit sich sie sind soll sollte sondern über um und uns unser unter
viel vom von vor waren warum wegen weil wenn wer werden wie wieder wir wird wo wurde wurden zu zum
zur zwar zwischen
"""
_FRENCH = """
ai alors au aussi autre aux avait avec avoir car ce cela ces cet cette ceux chaque comme dans de depuis des deux
donc du elle elles en encore est et était être eux il ils je la le les leur leurs lui mais même mes moi mon ne nos
notre nous on ont ou où par pas peu peut plus pour pourquoi quand que quel quelle qui sa sans se ses si son sont
sous sur ta te tes toi ton tous tout toute très tu un une vos votre vous y été
"""
_SPANISH = """
al algo antes así aunque cada como con contra cual cuando del desde donde durante el ella ellas ellos entre era
es esa ese eso esta estaba este esto estos está están fue ha había hasta hay la las lo los más me mi mientras muy
nada ni no nos nosotros o otra otro otros para pero poco por porque pues que quien qué se sea según ser si sido
sin sobre son su sus también tan tanto tiene todo todos tu un una uno y ya yo
"""

STOP_WORDS = frozenset(f"{_ENGLISH}{_GERMAN}{_FRENCH}{_SPANISH}".split())
