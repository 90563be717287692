"""Words that matter for oversight: people and groups, decisions about people, medicine, law.

A term is found in prose, comments, strings and names alike: `dateOfBirth`, `date_of_birth` and
"Date of birth" are all `date of birth`. Plurals with s are found too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

_PART = re.compile(r"[^\W\d_a-z]+(?![a-z])|[^\W\d_a-z]?[^\W\d_A-Z]+|\d+")
_JOINTS = ("", " ", "_", "-")


@dataclass(frozen=True)
class TermRow:
    """`terms` and `not_terms` are lists parted by commas, small letters, parts by spaces.

    `not_terms` are longer phrases in which a term means something else.
    """

    name: str
    group: str
    definition: str
    terms: str
    not_terms: str
    positive: tuple[str, ...]
    negative: tuple[str, ...]
    mirrors: tuple[str, ...] = ()


class TermFinder:
    """All terms of all rows in one pass over the parts of words."""

    def __init__(self, rows: Sequence[TermRow]) -> None:
        self._phrases: dict[tuple[str, ...], list[tuple[str, bool]]] = {}
        for row in rows:
            for terms, is_term in ((row.terms, True), (row.not_terms, False)):
                for phrase in _listed(terms):
                    self._phrases.setdefault(phrase, []).append((row.name, is_term))
        self._longest: dict[str, int] = {}
        for phrase in self._phrases:
            self._longest[phrase[0]] = max(self._longest.get(phrase[0], 0), len(phrase))

    def find(self, text: str) -> Iterator[tuple[int, int, str]]:
        """(start, end, name of the row); of a row the longest phrase, whose words it uses up."""
        parts = [(m.group().lower(), m.start(), m.end()) for m in _PART.finditer(text)]
        used: dict[str, int] = {}
        for place, (word, start, _) in enumerate(parts):
            longest = self._longest.get(word) or self._longest.get(word.removesuffix("s"), 0)
            for size in range(min(longest, len(parts) - place), 0, -1):
                run = parts[place : place + size]
                if any(text[a[2] : b[1]] not in _JOINTS for a, b in pairwise(run)):
                    continue
                for name, is_term in self._meanings(tuple(part[0] for part in run)):
                    if used.get(name, 0) <= place:
                        used[name] = place + size
                        if is_term:
                            yield start, run[-1][2], name

    def _meanings(self, words: tuple[str, ...]) -> Sequence[tuple[str, bool]]:
        """The rows that list these words, the last of them in the singular where need be."""
        single = (*words[:-1], words[-1].removesuffix("s"))
        return self._phrases.get(words, self._phrases.get(single, []))


def _listed(terms: str) -> list[tuple[str, ...]]:
    return [tuple(term.split()) for term in terms.split(",") if term.strip()]


LIMITS: Mapping[str, str] = {
    "gender and groups": "a list of English words: other words, other languages and irony are not "
    "seen; a word may be used of a thing, or quoted",
    "decisions about people": "names only: what the code decides is not looked at",
    "protected attributes": "names only; `sex`, `race` and `age` have other meanings too",
    "medical and legal": "a list of English words",
    "personal data": "names of fields, not the data themselves",
    "secrets": "names, not the secrets themselves",
}

RISKS: Mapping[str, str] = {
    "gender and groups": "presence of a word is not bias; use with counterfactual pairs, and do "
    "not use to profile authors",
    "decisions about people": "absence of these words does not show that no decision is made",
    "protected attributes": "removing the attribute does not remove its effect: proxies remain",
    "medical and legal": "not a detector of protected records",
    "secrets": "a secret may be kept under any other name",
    "personal data": "a name says that data may be there, not that they are",
}

TERM_ROWS = (
    TermRow("secret_name", "secrets", "a name of a password, key or token",
            "password, passwd, pwd, passphrase, secret, api key, apikey, access key, private key, "
            "auth token, access token, bearer token, client secret, credential, secret key",
            "secret santa, public key",
            ("«password» = user.«apiKey»",), ("token = tokenize(public_key)", "pass; key = 1")),
    TermRow("feminine_term", "gender and groups", "a word for women or girls, or a pronoun",
            "she, her, hers, herself, woman, women, female, girl, lady, ladies, mother, mom, mum, "
            "daughter, sister, wife, wives, aunt, niece, grandmother, queen, princess, girlfriend, "
            "feminine, mrs", "female connector, female header",
            ("# «She» asked «her» «wife»", "n_«women» = 3"), ("# there is the other", "sheep = 1"),
            ("masculine_term",)),
    TermRow("masculine_term", "gender and groups", "a word for men or boys, or a pronoun",
            "he, him, his, himself, man, men, male, boy, guy, gentleman, gentlemen, father, dad, "
            "son, brother, husband, uncle, nephew, grandfather, king, prince, boyfriend, "
            "masculine, mr", "man page, man in the middle, male connector, male header",
            ("# «He» asked «his» «husband»", "is«Male» = True"),
            ("# see the man page, this one", "manage = human"), ("feminine_term",)),
    TermRow("neutral_person_term", "gender and groups", "a word for people without a gender",
            "person, people, spouse, adult, teenager, human being, stepparent, grandparent, "
            "grandchild, grandchildren, nonbinary, non binary, gender neutral, chairperson, "
            "spokesperson", "",
            ("a «person» and «people»", "non-existent «spouse»"),
            ("personal = impeople; # a child process",)),
    TermRow("gendered_role", "gender and groups", "a role or job named with a gender",
            "chairman, chairmen, chairwoman, fireman, policeman, policewoman, mailman, salesman, "
            "saleswoman, spokesman, spokeswoman, businessman, businesswoman, stewardess, waitress, "
            "actress, housewife, congressman, freshman, middleman, mankind, manpower, cameraman",
            "", ("# ask the «chairman» or the «waitress»",), ("# ask the chair or the waiter",)),
    TermRow("ethnicity_term", "gender and groups", "a word for race, ethnicity or origin",
            "race, racial, ethnicity, ethnic, african american, african, asian, hispanic, latino, "
            "latina, latinx, caucasian, arab, indigenous, native american, aboriginal, roma, "
            "black people, white people, black man, black woman, white man, white woman, "
            "skin colour, skin color, person of color, people of color, immigrant, refugee",
            "race condition, race free, data race, native method",
            ("# by «race» and «ethnicity»", "«skin_color» = None", "«black people»"),
            ("# a race condition on a black box", "trace = white_space")),
    TermRow("religion_term", "gender and groups", "a word for a religion or its members",
            "religion, religious, christian, christianity, catholic, protestant, muslim, islam, "
            "islamic, jewish, judaism, jew, hindu, hinduism, buddhist, buddhism, sikh, atheist, "
            "mormon, church, mosque, synagogue", "alonzo church, church encoding, church numeral",
            ("# «religion» of the «Muslim» patients",), ("# a Church numeral, religiously",)),
    TermRow("sexuality_term", "gender and groups", "a word for sexual orientation or transition",
            "gay, lesbian, bisexual, homosexual, heterosexual, transgender, transsexual, queer, "
            "lgbt, lgbtq, sexual orientation, gender identity, same sex", "",
            ("«sexual_orientation» = 'x'", "a «transgender» person"), ("transaction = straight",)),
    TermRow("disability_term", "gender and groups", "a word for disability or impairment",
            "disability, disabilities, handicap, handicapped, wheelchair, blind person, "
            "blind people, deaf, autism, autistic, dyslexia, impairment, visually impaired, "
            "hearing impaired, mental illness", "",
            ("has_«disability» = True", "for the «visually impaired»"),
            ("button.disabled = blindly",)),
    TermRow("age_group_term", "gender and groups", "a word for an age group",
            "elderly, senior citizen, old people, young people, millennial, boomer, retiree, "
            "pensioner, minor child, age group, age discrimination", "",
            ("the «elderly» and other «age groups»",), ("age = 3; oldest = min(ages)",)),
    TermRow("loaded_technical_term", "gender and groups", "a technical word now often replaced",
            "slave, blacklist, blacklisted, black list, whitelist, whitelisted, white list, "
            "master slave, grandfathered, sanity check, manned, man hour, crippled, "
            "native feature", "",
            ("«blacklist» = «white_list»", "# «sanity check» of the «slave»"),
            ("blocklist = allow_list; master = branch",)),
    TermRow("protected_attribute_name", "protected attributes",
            "a name for what law protects from discrimination",
            "gender, sex, race, ethnicity, religion, nationality, national origin, disability, "
            "marital status, pregnant, pregnancy, sexual orientation, skin color, skin colour, "
            "veteran status, citizenship, birth country, mother tongue, age",
            "race condition, race free, data race, max age, page age, cache age, file age",
            ("«gender» = row['«marital_status»']", "applicant.«age»"),
            ("max_age = 3; race_condition = generate(page)",), ("proxy_attribute_name",)),
    TermRow("proxy_attribute_name", "protected attributes",
            "a name for what often stands in for a protected attribute",
            "zip code, postal code, postcode, neighborhood, neighbourhood, surname, last name, "
            "first name, foreign accent, school name, birthplace, place of birth, native language",
            "", ("«zip_code» = person.«surname»",), ("code = unzip(name)",),
            ("protected_attribute_name",)),
    TermRow("lending_term", "decisions about people", "a word of loans, credit and insurance",
            "loan, mortgage, credit score, creditworthiness, borrower, lender, lending, "
            "underwriting, interest rate, insurance premium, insurance claim, debt to income, "
            "overdraft, default risk", "", ("approve_«loan»(«credit_score»)",),
            ("credits = score + interest",), ("hiring_term", "health_term", "justice_term")),
    TermRow("hiring_term", "decisions about people", "a word of hiring and employment",
            "hire, hired, hiring, job applicant, job candidate, resume score, recruiter, "
            "recruiting, recruitment, interviewee, salary, promotion, employee, layoff, dismissal, "
            "job offer", "type promotion, integer promotion",
            ("def «hire»(«job_candidate»): pass",), ("# integer promotion on resume",),
            ("lending_term", "health_term", "justice_term")),
    TermRow("health_term", "decisions about people", "a word of decisions in health care",
            "patient, triage, diagnosis, diagnoses, prognosis, treatment, transplant, organ donor, "
            "intensive care, icu, dosage, prescription, surgery, hospital, hospitalization, "
            "symptom, clinical, health record, comorbidity",
            "special treatment, treatment of",
            ("«triage»(«patient»)",), ("treat(impatient)",),
            ("lending_term", "hiring_term", "justice_term")),
    TermRow("justice_term", "decisions about people", "a word of policing, courts and sentencing",
            "parole, bail, recidivism, recidivist, inmate, probation, sentencing, convict, "
            "conviction, felony, misdemeanor, arrest, suspect, defendant, offender, police, "
            "predictive policing, asylum",
            "bail out, i suspect, we suspect",
            ("risk of «recidivism» for «parole»",), ("# bail out here; a sentence",),
            ("lending_term", "hiring_term", "health_term")),
    TermRow("personal_data_name", "personal data", "a name of a field of personal data",
            "date of birth, birth date, birthdate, birthday, dob, home address, street address, "
            "phone number, telephone number, mobile number, email address, e mail address, "
            "passport number, driver license, drivers license, national id, "
            "social security number, ssn, maiden name, full name, first name, last name, "
            "bank account, iban, credit card number, tax id, fingerprint image, geolocation", "",
            ("user.«date_of_birth», user.«homeAddress»",), ("update(birth); address = email",)),
    TermRow("medical_identifier_name", "medical and legal",
            "a name of an identifier from medical records",
            "patient id, patient identifier, medical record number, mrn, nhs number, health id, "
            "health insurance number, medicare number, icd code, icd 10, snomed, loinc, cpt code, "
            "npi number, npi, rxnorm, hl7, fhir, dicom, encounter id", "",
            ("row['«patient_id»'] = «icdCode»",), ("patience = identity(record)",),
            ("legal_identifier_name",)),
    TermRow("legal_identifier_name", "medical and legal",
            "a name of an identifier from legal records",
            "case number, case id, docket, docket number, court case, court id, bar number, "
            "statute, plaintiff, defendant id, contract number, patent number, license number, "
            "licence number, police report", "",
            ("«case_number» = docs['«docketNumber»']",), ("number = case + docker",),
            ("medical_identifier_name",)),
    TermRow("legal_term", "medical and legal", "a word of law",
            "lawsuit, litigation, liability, indemnify, warranty, jurisdiction, plaintiff, "
            "defendant, tort, statute, subpoena, injunction, affidavit, arbitration, gdpr, hipaa, "
            "copyright, copyrighted, infringement, negligence, merchantability", "",
            ("no «warranty», no «liability»",), ("lawn = suit",)),
)  # fmt: skip
