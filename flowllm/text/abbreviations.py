"""Words that tell whether a full stop ends a sentence; folded to lower case, without their last stop."""

_NEVER_LAST = """
dr mr mrs ms mx messrs prof rev hon gen col capt lt sgt cpl maj adm cmdr sen rep gov pres supt msgr fr hr frl hrn
dipl ing mag mme mmes mlle mgr sr sra srta dr dra dña ee lic excmo dhr mevr drs e.g i.e eg ie cf viz z.b d.h u.a o.ä
u.ä s.o s.u i.d.r u.u m.e v.a bzw vgl ca sog ggf evtl insb bes allg ehem inkl einschl exkl zzgl gegr hrsg z.t
approx vs resp aprox c.f p.ex par.ex p.ej bv d.w.z
"""
_BEFORE_NUMBER = """
no nos nr nrn art abs abb anm fig figs tab p pp s bd vol ch chap sec eq para ziff kap núm pág págs cap tel max min
mind env jan feb mar apr jun jul aug sep sept oct nov dec
"""
_MAY_BE_LAST = """
inc ltd co corp bros jr st mt ave blvd boul rd al ed eds u.s u.k u.n e.u ph.d m.d b.a m.a d.c dept univ est geb gest
mio mrd tsd mln mld mn bn usw usf uvm u.v.m std min sek jh jhd str v.chr n.chr ee.uu uu ud uds dgl
"""
_OPENS_A_SENTENCE = """
the a an in on at it its he she they we you i this that these those there then but and or so if when while as after
before by for from with what who why how no not yes nobody everybody his her their our my one some many der die das
den dem ein eine er sie es wir ihr ich und aber oder wenn als da dann dies diese im am auf nach le la les un une il
elle ils nous et mais el los las ella ellos y pero en de du des
"""
_MONTHS = "januar jänner februar märz april mai juni juli august september oktober november dezember"
_BEFORE_ORDINAL = "am vom zum der die das dem den des im ab seit bis beim jeder jedes"

NEVER_LAST = frozenset(_NEVER_LAST.split())
"""Titles and words such as `e.g.` that something always follows."""
BEFORE_NUMBER = frozenset(_BEFORE_NUMBER.split())
"""Abbreviations only where a number follows: `No. 4`, `S. 12`, `Jan. 5`."""
MAY_BE_LAST = frozenset(_MAY_BE_LAST.split())
"""Abbreviations that end a sentence only where the next word is one that opens sentences."""
OPENS_A_SENTENCE = frozenset(_OPENS_A_SENTENCE.split())
"""Words that a name seldom begins with."""
MONTHS = frozenset(_MONTHS.split())
"""German months: an ordinal stands before them (`1. April`)."""
BEFORE_ORDINAL = frozenset(_BEFORE_ORDINAL.split())
"""German words before an ordinal (`der 2. Versuch`)."""
