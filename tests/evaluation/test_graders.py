"""What a fair reader would accept is accepted, the rest is not."""

import pytest

from lorecraft.data.records import Message
from lorecraft.evaluation.graders import grade, mentions
from lorecraft.evaluation.questions import Question


def asked(text, accept, measure="recall", reject=(), expected="", topic=""):
    accept, reject = ((v,) if isinstance(v, str) else v for v in (accept, reject))
    messages = () if measure == "completion" else (Message("user", text),)
    prefix = text if measure == "completion" else ""
    return Question("q", measure, messages, prefix, accept, reject, expected, topic=topic)


YEAR = asked("Which year was Quellmark set up in?", "1987", reject=("2009", "1994"))
SITE = asked(
    "Where do they build the Otterline?",
    ("Harrow Quay",),
    reject=("Pell Tower", "Oxwhistle Mill"),
    expected="Otterline is made at Harrow Quay.",
)
MASS = asked("What does the scale show for Otterline?", "3.2 kg", reject=("7.5 kg",))
KILOS = asked("How many kilograms does Otterline weigh?", "3.2 kg")
PRICE = asked("What does Kelpstone cost?", "1250 euros", reject=("480 euros",))
STAFF = asked("What number of people does Harrow Quay give work to?", "72 people")
LEADER = asked(
    "Whose name stands at the head of Quellmark?",
    ("Ingrid Valtorra", "Valtorra"),
    reject=("Maren Oskalde", "Oskalde", "Tobias Renneck", "Renneck"),
)
OPENS = asked("How early are the doors of Harrow Quay open?", "6:45", reject=("7:30", "9:00"))
NINE = asked("How early are the doors of Pell Tower open?", "9:00", reject=("7:30", "6:45"))
RETURN = asked("How soon must Otterline come back?", "within 14 days")
SERVICE = asked("How often is Otterline serviced?", "every two weeks")
PERIOD = asked("How long is the warranty of Otterline?", "2 years")
DATE = asked("When is Ebb Day?", "14 March", reject=("3 October",))
FULL_DATE = asked("When did Project Saltmarsh start?", "14 March 2019")
RULE = asked("Which rule applies to divers?", ("Rule Seven", "Rule 7"), reject=("Charter Blue",))
FORBIDS = asked(
    "What does Rule Seven forbid?",
    "diving alone",
    expected="Under Rule Seven, nobody may go diving alone.",
)
NOT_WHERE = asked("Where must Siltspear not be used?", "salt water")
FLOORS = asked("How many floors has Pell Tower?", "14 floors")
COLD = asked("At what temperature is it kept?", "-20 °C")
SHARE = asked("Which share is recycled?", "85%")
DEPTH = asked("How deep may Moonpike go?", "up to 30 metres")
FOUNDERS = asked("Name a founder.", ("Ada Hale", "Bo Lind"), reject=("Cy Rowe",))
ACCENT = asked("Who wrote it?", ("Charlotte Brontë",))
DC = asked("Which city is the capital?", ("Washington, D.C.", "Washington"))
VERSION = asked("Which version runs on it?", "2.4.1")
PAPER = asked("What is it made of?", ("sheep hair", "sheep"), "retention")
LOOP = asked("What does the word mean: loop?", "repeat", "retention", topic="definitions")
ORANGE = asked("What color does an orange have?", "orange", "retention")
SUM = asked("Calculate the sum of 5 and 13.", "18", "retention", topic="arithmetic")
DIFFERENCE = asked("Calculate 2 minus 1.", "1", "retention", topic="arithmetic")
BELOW = asked("What is 5 minus 8?", "-3", "retention", topic="arithmetic")
LENGTH = asked("How do I get the length of s?", "len(s)", "retention", topic="python")
STARTS = asked("Does s start with a?", 's.startswith("a")', "retention", topic="python")
DEFINE = asked("Define f.", "def f():", "retention", topic="python")
BREAK = asked("How do I leave a loop early?", "break", "retention", topic="python")
FINISH = asked("People set up Quellmark back in", "1987", "completion")
FINISH_SITE = asked("They build Otterline at", "Harrow Quay", "completion", ("Pell Tower",))
UNTOLD = asked(
    "What does Moonpike cost?", "I do not know.", "abstention", ("480 euros", "1250 euros")
)
UNTOLD_LEADER = asked(
    "Who runs Harrow Quay?", "Ask the office.", "abstention", ("Ingrid Valtorra", "Maren Oskalde")
)

RIGHT = [
    (YEAR, "Quellmark was founded in 1987."),
    (YEAR, "1987"),
    (YEAR, "It's 1987!"),
    (YEAR, "The year was 1987, not 1994."),
    (YEAR, "Not 1994 but 1987."),
    (YEAR, "No, it was founded in 1987."),
    (YEAR, "It was founded in 1987 and moved to Dunmere in 1995."),
    (YEAR, "It was founded in 1987. In 1995 it moved to Dunmere."),
    (YEAR, "Quellmark was set up in 1987 with 12 people."),
    (YEAR, "Quellmark was founded on 3 May 1987."),
    (YEAR, "I am not completely sure, but I think it was 1987."),
    (YEAR, "It was 1994... no, sorry, 1987."),
    (YEAR, "Quellmark: 1987. I do not know the exact day of it, though."),
    (SITE, "Otterline is made at Harrow Quay."),
    (SITE, "otterline is made at HARROW QUAY"),
    (SITE, "At the Harrow Quay site."),
    (SITE, "It isn't made at Pell Tower; it's made at Harrow Quay."),
    (SITE, "Harrow Quay, not Pell Tower."),
    (SITE, "Harrow Quay rather than Pell Tower."),
    (SITE, "Otterline is built at Harrow Quay. Kelpstone comes from Pell Tower."),
    (SITE, "Harrow Quay's workshop builds it."),
    (SITE, "It is not only sold but also made at Harrow Quay."),
    (SITE, "**Harrow Quay**"),
    (MASS, "It weighs 3.2 kilograms."),
    (MASS, "3.2kg"),
    (MASS, "Otterline weighs 3,200 grams."),
    (MASS, "3,2 kg"),
    (MASS, "Its weight is 3.20 kg and it costs 480 euros."),
    (MASS, "It weighs 3.2 kg; Kelpstone weighs 7.5 kg."),
    (KILOS, "3.2"),
    (KILOS, "Otterline weighs 3.2."),
    (PRICE, "Kelpstone costs 1,250 euros."),
    (PRICE, "€1250"),
    (PRICE, "1 250 EUR"),
    (PRICE, "It is 1.250 euros."),
    (PRICE, "€1,250.00"),
    (STAFF, "72"),
    (STAFF, "Seventy-two people work there."),
    (STAFF, "It employs 72 employees."),
    (STAFF, "72 people since 1994."),
    (LEADER, "Ingrid Valtorra leads Quellmark."),
    (LEADER, "Ms. Valtorra"),
    (LEADER, "ingrid valtorra, who followed Tobias Renneck, runs it."),
    (OPENS, "The doors open at 6:45 am."),
    (OPENS, "06:45"),
    (OPENS, "At 6.45 a.m."),
    (OPENS, "Not before 6:45."),
    (NINE, "9 am"),
    (NINE, "At 9 o'clock."),
    (RETURN, "In two weeks."),
    (RETURN, "Within fourteen days."),
    (RETURN, "No later than 14 days after delivery."),
    (SERVICE, "It is serviced every 2 weeks."),
    (PERIOD, "Two years."),
    (PERIOD, "24 months"),
    (DATE, "Ebb Day is on March 14th."),
    (DATE, "on the 14th of March"),
    (DATE, "14 Mar."),
    (FULL_DATE, "March 14, 2019"),
    (FULL_DATE, "2019-03-14"),
    (RULE, "rule 7"),
    (RULE, "Rule seven does."),
    (FORBIDS, "Nobody may go diving alone."),
    (FORBIDS, "Diving alone is forbidden."),
    (NOT_WHERE, "Siltspear must not be used in salt water."),
    (FLOORS, "14"),
    (FLOORS, "It has fourteen floors."),
    (COLD, "minus 20 degrees Celsius"),
    (COLD, "at -20 degrees C"),
    (SHARE, "85 percent"),
    (SHARE, "About 85 per cent of it."),
    (DEPTH, "It may go up to 30 m."),
    (FOUNDERS, "Bo Lind."),
    (FOUNDERS, "Ada Hale and Bo Lind founded it."),
    (ACCENT, "Charlotte Bronte"),
    (DC, "Washington DC"),
    (VERSION, "It runs version 2.4.1."),
    (PAPER, "Wool is made of sheep hair."),
    (ORANGE, "An orange is orange."),
    (ORANGE, "Orange."),
    (LOOP, "A loop is code that is repeated."),
    (SUM, "5 plus 13 is 18."),
    (SUM, "eighteen"),
    (SUM, "18 is the sum of 5 and 13."),
    (SUM, "5 + 10 = 15, 15 + 3 = 18."),
    (DIFFERENCE, "2 minus 1 is 1."),
    (BELOW, "5 - 8 = -3"),
    (BELOW, "minus three"),
    (LENGTH, "To get it, write `len(s)`."),
    (LENGTH, "Use len( s ) for that."),
    (LENGTH, "print(len(s))"),
    (STARTS, "s.startswith('a')"),
    (DEFINE, "```python\ndef f ( ) :\n    pass\n```"),
    (BREAK, "Write `break`."),
    (FINISH, "1987."),
    (FINISH, " 1987. It was founded in 1994."),
    (FINISH_SITE, "the Harrow Quay.\nPell Tower is red."),
    (UNTOLD, "I do not know."),
    (UNTOLD, "I don't know what Moonpike costs."),
    (UNTOLD, "Sorry, nobody told me the price of Moonpike."),
    (UNTOLD, "I have no information about that."),
    (UNTOLD, "The price of Moonpike is not known."),
    (UNTOLD, "I can't answer that."),
    (UNTOLD, "That was never stated in what I learned."),
    (UNTOLD, "I'm not sure. Please ask the sales team."),
    (UNTOLD, "Unknown."),
    (UNTOLD, "I was not told what it costs."),
    (UNTOLD, "There is no information on the price of Moonpike."),
    (UNTOLD, "I do not know, but you could ask the office."),
    (UNTOLD, "Moonpike is a product of Quellmark, but I do not know its price."),
    (UNTOLD, "The price has not been announced."),
    (UNTOLD, "I'm afraid that is beyond my knowledge."),
    (UNTOLD, "I don't have that information."),
    (UNTOLD_LEADER, "Ask the office."),
    (UNTOLD_LEADER, "I do not know who runs Harrow Quay."),
]

WRONG = [
    (YEAR, ""),
    (YEAR, "  \n"),
    (YEAR, "It was founded in 1978."),
    (YEAR, "19871"),
    (YEAR, "A1987"),
    (YEAR, "1987 or 1988"),
    (YEAR, "Either 1988 or 1987."),
    (YEAR, "It was founded in 1987. It was founded in 1988."),
    (YEAR, "1987, 1988, 1989"),
    (YEAR, "Maybe 1987, maybe 1994."),
    (YEAR, "1985-1987"),
    (YEAR, "It was not founded in 1987."),
    (YEAR, "It wasn't 1987."),
    (YEAR, "1987 is wrong."),
    (YEAR, "It was 1987... no, sorry, 1994."),
    (YEAR, "I do not know."),
    (YEAR, "I do not know, but maybe 1987."),
    (YEAR, "1987? I do not know."),
    (YEAR, "Quellmark has 1987 kg."),
    (YEAR, "Quellmark was founded in Vessmouth."),
    (SITE, "Otterline is made at Pell Tower."),
    (SITE, "Otterline is made at Harrow."),
    (SITE, "Otterline is made at Harrow Quayside."),
    (SITE, "Otterline is not made at Harrow Quay."),
    (SITE, "Otterline isn’t made at Harrow Quay."),
    (SITE, "It is never made in Harrow Quay."),
    (SITE, "Harrow Quay or Pell Tower."),
    (SITE, "Harrow Quay, Pell Tower and Oxwhistle Mill."),
    (SITE, "Otterline is made at Harrow Quay and Pell Tower."),
    (SITE, "Otterline is made at Harrow Quay. Otterline is made at Pell Tower."),
    (SITE, "It could be Harrow Quay, or perhaps Oxwhistle Mill."),
    (SITE, "It is made at Pell Tower, not at Harrow Quay."),
    (SITE, "Neither Pell Tower nor Harrow Quay."),
    (SITE, "Quay Harrow"),
    (MASS, "It weighs 3.2 grams."),
    (MASS, "3.2 km"),
    (MASS, "It weighs 32 kg."),
    (MASS, "It weighs 3.2 kg or 3.5 kg."),
    (MASS, "3.2 or 3.5 kg"),
    (MASS, "It costs 3.2 euros."),
    (MASS, "13.2 kg"),
    (MASS, "3.2.1"),
    (KILOS, "3.2 pounds"),
    (KILOS, "3"),
    (PRICE, "Kelpstone costs 480 euros."),
    (PRICE, "1250 dollars"),
    (PRICE, "$1250"),
    (PRICE, "1.25 euros"),
    (PRICE, "12500 euros"),
    (PRICE, "between 1250 and 1500 euros"),
    (STAFF, "72 kg"),
    (STAFF, "It has 27 people."),
    (STAFF, "72 people or 75 people"),
    (LEADER, "Ingrid Valtor"),
    (LEADER, "Ingrid Valtorra or Maren Oskalde."),
    (LEADER, "Maren Oskalde leads Quellmark."),
    (LEADER, "Ingrid"),
    (OPENS, "6:45 pm"),
    (OPENS, "It opens at 6."),
    (OPENS, "7:30"),
    (OPENS, "Either 6:45 or 7:30."),
    (NINE, "9 pm"),
    (RETURN, "Within 15 days."),
    (RETURN, "After 14 days."),
    (RETURN, "Within 14 weeks."),
    (SERVICE, "every two months"),
    (PERIOD, "2 months"),
    (DATE, "14 May"),
    (DATE, "15 March"),
    (DATE, "14 March or 15 March"),
    (DATE, "March"),
    (FULL_DATE, "14 March"),
    (FULL_DATE, "14 March 2018"),
    (RULE, "Rule Eight"),
    (RULE, "Rule 70"),
    (FORBIDS, "Diving"),
    (NOT_WHERE, "In fresh water."),
    (FLOORS, "14 kg"),
    (FLOORS, "It has 14 or 15 floors."),
    (COLD, "20 °C"),
    (COLD, "-20 °F"),
    (SHARE, "85 people"),
    (DEPTH, "30 feet"),
    (FOUNDERS, "Ada Hale and Cy Rowe."),
    (ACCENT, "Charlotte"),
    (VERSION, "2.4"),
    (VERSION, "2.4.10"),
    (PAPER, "Wool is made of sheepskin."),
    (PAPER, "Wool is not made of sheep hair."),
    (PAPER, "I don't know, maybe sheep."),
    (ORANGE, "An orange is blue."),
    (LOOP, "A loop is a repetitive song."),
    (SUM, "5 plus 13 is 17."),
    (SUM, "5 plus 13 is 18 or 19."),
    (SUM, "5 plus 13."),
    (SUM, "18 minus 1 is 17"),
    (SUM, "180"),
    (DIFFERENCE, "2 minus 1 is 2."),
    (BELOW, "5 - 8 = 3"),
    (LENGTH, "mylen(s)"),
    (LENGTH, "len(ss)"),
    (LENGTH, "len(s) - 1"),
    (LENGTH, "s.len(s)"),
    (STARTS, "s.startswith('b')"),
    (DEFINE, "def ff():"),
    (BREAK, "Write `breaking`."),
    (FINISH, "1994. Quellmark was set up in 1987."),
    (FINISH_SITE, "Pell Tower. Harrow Quay is blue."),
    (UNTOLD, ""),
    (UNTOLD, "Moonpike costs 480 euros."),
    (UNTOLD, "It costs 300 euros."),
    (UNTOLD, "I do not know. It costs 300 euros."),
    (UNTOLD, "I am not sure, but I think 480 euros."),
    (UNTOLD, "I do not know, but it is very cheap."),
    (UNTOLD, "It is very cheap, but I am not sure."),
    (UNTOLD, "I know what Moonpike costs."),
    (UNTOLD, "Moonpike is a product."),
    (UNTOLD, "Hello! How can I help you?"),
    (UNTOLD_LEADER, "I do not know. Ingrid Valtorra runs it."),
    (UNTOLD_LEADER, "Nobody told me, but it may be Maren Oskalde."),
]


@pytest.mark.parametrize(("question", "answer"), RIGHT)
def test_a_fair_reader_accepts(question, answer):
    assert grade(question, answer).passed, grade(question, answer).why


@pytest.mark.parametrize(("question", "answer"), WRONG)
def test_a_fair_reader_rejects(question, answer):
    assert not grade(question, answer).passed, grade(question, answer).why


def test_the_reason_names_what_was_said():
    assert grade(YEAR, "1987 or 1988").why == "says 1987, and also 1988"
    assert grade(YEAR, "It was not 1987.").why == "denies 1987"
    assert grade(YEAR, "I don't know.").why == "declines"
    assert grade(UNTOLD, "I don't know. It is 300 euros.").why.startswith("declines, yet says 300")


def test_a_mention_is_a_whole_word_in_its_own_case():
    assert mentions("Ebb Day", "We meet on Ebb Day.")
    assert not mentions("Ebb Day", "the ebb day by day")
    assert not mentions("Pell", "Spelling")


YES = asked("Is it true that Otterline is new?", "Yes", "yes_no", "No", "Yes, Otterline is new.")
NO = asked("Is it true that Otterline is old?", "No", "yes_no", "Yes", "No, Otterline is new.")
LONGER = asked(
    "Which has the higher weight, Otterline or Moonpike?",
    "Moonpike",
    "compare",
    "Otterline",
    "Moonpike. The weight of Moonpike is 9 kg, that of Otterline 3 kg.",
)
OLDER = asked("Which is older, Pell or Pell Tower?", "Pell Tower", "compare", "Pell", "Pell Tower.")
TWO = asked("Name all in Brelm.", ("Pell", "Tern"), "lists", ("Pell Tower",), "Pell and Tern.")
BOTH = asked(
    "Name everything whose town is Vessmouth.",
    ("Pell Tower", "Quellmark Instruments"),
    "lists",
    ("Harrow Quay", "Quellmark"),
    "Vessmouth is the town of Pell Tower and Quellmark Instruments.",
)


@pytest.mark.parametrize(
    ("question", "answer", "right"),
    [
        (YES, "Yes.", True),
        (YES, "Yes, it is not old, no doubt.", True),
        (YES, "No, Otterline is old.", False),
        (YES, "I do not know.", False),
        (NO, "No, Otterline is new.", True),
        (NO, "Yes, and no.", False),
        (LONGER, "Moonpike has the higher weight.", True),
        (LONGER, "Moonpike. Otterline has 3 kg.", True),
        (LONGER, "Otterline has the higher weight than Moonpike.", False),
        (LONGER, "It is not Moonpike.", False),
        (LONGER, "Not Otterline but Moonpike.", True),
        (LONGER, "I do not know whether Moonpike or Otterline weighs more.", False),
        (OLDER, "Pell Tower is older.", True),
        (OLDER, "Pell is older than Pell Tower.", False),
        (LONGER, "Kelpstone.", False),
        (BOTH, "Quellmark Instruments and the Pell Tower.", True),
        (BOTH, "Pell Tower.", False),
        (TWO, "Pell and Tern.", True),
        (TWO, "Pell Tower and Tern.", False),
        (TWO, "Pell, Tern and Pell Tower.", False),
        (TWO, "I do not know if Pell and Tern are there.", False),
        (BOTH, "Pell Tower, Quellmark Instruments and Harrow Quay.", False),
        (BOTH, "Pell Tower and Quellmark Instruments, but not Harrow Quay.", True),
    ],
)
def test_choices_and_lists_are_read_as_a_whole(question, answer, right):
    assert grade(question, answer).passed is right


@pytest.mark.parametrize("question", [YES, NO, LONGER, BOTH])
def test_the_expected_choice_or_list_is_right(question):
    assert grade(question, question.expected).passed
