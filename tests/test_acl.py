"""Users and what they may do: `acl`, `acl_user`, `acl_rules` and `acl_log`, without a server."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving import command_table

from sentinel_py.acl.acl import Acl, AclError, AclStore
from sentinel_py.acl.log import GROUPING_MS, AclLog, Reason
from sentinel_py.acl.rules import RuleError

TABLE = command_table()
HASH = hashlib.sha256(b"secret").hexdigest()
UNKNOWN = "Unknown command or category name in ACL"


def acl(*rules, **config):
    """An ACL in which user u has these rules."""
    made = Acl.from_config(TABLE, **config)
    made.set_user("u", rules)
    return made


def user(*rules, **config):
    return acl(*rules, **config).users["u"]


def denial(made, *words):
    """What the user may not do of this request, or None."""
    args = [word.encode() for word in words]
    found = made.check(TABLE.find(args), args)
    return found and (found.reason, found.object)


COMMAND = Reason.COMMAND
CHANNEL = Reason.CHANNEL


@pytest.mark.parametrize(
    ("rules", "description"),
    [
        ("", "off sanitize-payload resetchannels -@all"),
        ("on nopass", "on nopass sanitize-payload resetchannels -@all"),
        ("on >secret", f"on sanitize-payload #{HASH} resetchannels -@all"),
        (f"on #{HASH} >secret", f"on sanitize-payload #{HASH} resetchannels -@all"),
        (">secret nopass", "off nopass sanitize-payload resetchannels -@all"),
        ("nopass >secret <secret", "off sanitize-payload resetchannels -@all"),
        ("skip-sanitize-payload", "off skip-sanitize-payload resetchannels -@all"),
        ("~a %R~b %w~b %R~c", "off sanitize-payload ~a ~b %R~c resetchannels -@all"),
        ("~a allkeys &x &y &x", "off sanitize-payload ~* resetchannels &x &y -@all"),
        ("&x allchannels +PING", "off sanitize-payload &* -@all +ping"),
        ("+@all -@ADMIN +role", "off sanitize-payload resetchannels +@all -@admin +role"),
        ("+client|id +client -client|kill", "off sanitize-payload resetchannels -@all +client "
         "-client|kill"),
        ("+client|id -client", "off sanitize-payload resetchannels -@all -client"),
        ("+ping -ping +ping", "off sanitize-payload resetchannels -@all +ping"),
        ("+ping +@all", "off sanitize-payload resetchannels +@all"),
        ("+@all nocommands", "off sanitize-payload resetchannels -@all"),
        ("+ping|hi +ping|HI", "off sanitize-payload resetchannels -@all +ping|hi"),
        ("(+ping &x) (+role", None),
        ("(+ping &x) ( +role )", "off sanitize-payload resetchannels -@all "
         "(resetchannels &x -@all +ping) (resetchannels -@all +role)"),
        ("(+ping) clearselectors", "off sanitize-payload resetchannels -@all"),
        ("on nopass +@all &* (+ping) reset", "off sanitize-payload resetchannels -@all"),
    ],
)  # fmt: skip
def test_rules_are_described_as_the_configuration_writes_them(rules, description):
    """Flags, hashes, keys, channels, then the command rules in the order they were given."""
    if description is None:
        with pytest.raises(RuleError):
            user(*rules.split())
    else:
        assert user(*rules.split()).describe() == description


RULES = (
    "on off nopass >a >b <a resetpass ~a ~* %R~b resetkeys &a &* resetchannels +@all -@all +ping "
    "-ping +client -client +client|id -client|id +@admin -@admin +@connection -@dangerous "
    "+subscribe +ping|x (+publish) clearselectors reset +@slow -@fast +role"
)


@given(st.lists(st.sampled_from(RULES.split()), max_size=12))
def test_a_description_makes_the_same_user(rules):
    """What is written to the configuration permits after a restart what it permitted before."""
    made = acl()
    for rule in rules:
        try:
            made.set_user("u", [rule])
        except RuleError:
            continue
    before = made.users["u"]
    after = user(*before.describe().split())
    assert after.describe() == before.describe()
    assert after.permitted == before.permitted
    assert after.root == before.root


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ("+get", UNKNOWN),
        ("-get", UNKNOWN),
        ("+@none", UNKNOWN),
        ("+client|none", UNKNOWN),
        ("-ping|x", UNKNOWN),
        ("+client|id|x", "Allowing first-arg of a subcommand is not supported"),
        ("+ping|", "Syntax error"),
        ("what", "Syntax error"),
        ("%X~a", "Syntax error"),
        ("%~a", "Syntax error"),
        ("~a\tb", "Syntax error"),
        ("&a b", "Syntax error"),
        ("<none", "The password you are trying to remove from the user does not exist"),
        ("#abc", "The password hash must be exactly 64 characters and contain only lowercase "
         "hexadecimal characters"),
        ("!" + "A" * 64, "The password hash must be exactly 64 characters and contain only "
         "lowercase hexadecimal characters"),
        ("(+get)", UNKNOWN),
    ],
)  # fmt: skip
def test_a_bad_rule_changes_nothing(rule, reason):
    """The reason is told, and rules that stood before it in the same change are not applied."""
    made = acl("on", "+ping")
    with pytest.raises(RuleError) as raised:
        made.set_user("u", ["off", "-ping", rule])
    assert (str(raised.value), raised.value.rule) == (reason, rule)
    assert made.users["u"].describe() == "on sanitize-payload resetchannels -@all +ping"


@pytest.mark.parametrize(("rules", "flag"), [("~* ~a", "allkeys"), ("&* &a", "allchannels")])
def test_a_pattern_behind_all_is_refused(rules, flag):
    """It would have no effect, which nobody can want."""
    with pytest.raises(RuleError, match=f"'{flag}' flag"):
        user(*rules.split())


@pytest.mark.parametrize(
    ("rules", "words", "refused"),
    [
        ("", "PING", (COMMAND, "ping")),
        ("", "AUTH x", None),
        ("+ping", "ping", None),
        ("+@connection", "PING", None),
        ("+@all -@connection", "CLIENT ID", (COMMAND, "client|id")),
        ("+client", "CLIENT ID", None),
        ("+client|id", "CLIENT ID", None),
        ("+client|id", "CLIENT GETNAME", (COMMAND, "client|getname")),
        ("+sentinel -sentinel|wait", "SENTINEL WAIT", (COMMAND, "sentinel|wait")),
        ("+ping|hi", "PING HI", None),
        ("+ping|hi", "PING", (COMMAND, "ping")),
        ("+ping|hi", "PING ho", (COMMAND, "ping")),
        ("+ping|hi -ping", "PING hi", (COMMAND, "ping")),
        ("+subscribe", "SUBSCRIBE a", (CHANNEL, "a")),
        ("+subscribe &a*", "SUBSCRIBE ab ac", None),
        ("+subscribe &a*", "SUBSCRIBE ab x ac", (CHANNEL, "x")),
        ("+psubscribe &a*", "PSUBSCRIBE ab", (CHANNEL, "ab")),
        ("+psubscribe &a*", "PSUBSCRIBE a*", None),
        ("+publish &a", "PUBLISH b x", (CHANNEL, "b")),
        ("+publish &a", "PUBLISH a x", None),
        ("+unsubscribe", "UNSUBSCRIBE a", None),
        ("+subscribe &*", "SUBSCRIBE a", None),
        ("(+subscribe &a) (+publish &b)", "SUBSCRIBE b", (CHANNEL, "b")),
        ("(+subscribe &a) (+publish &b)", "PUBLISH b x", None),
        ("&* (+subscribe)", "SUBSCRIBE a", (CHANNEL, "a")),
        ("(+subscribe &a) (+subscribe &b)", "SUBSCRIBE b a", (CHANNEL, "a")),
        ("(+subscribe &a) (+subscribe &b)", "SUBSCRIBE a b", (CHANNEL, "b")),
    ],
)
def test_what_is_permitted(rules, words, refused):
    """Command and channels have to be permitted by one and the same set of rules."""
    assert denial(user(*rules.split()), *words.split()) == refused


def test_a_category_covers_containers_with_all_below():
    """-@slow takes `client` away, and with it CLIENT ID; rules behind it can give it back."""
    assert denial(user("+@all", "-@slow", "+client|id"), "CLIENT", "ID") is None
    assert denial(user("+@all", "-@slow"), "CLIENT", "ID") == (COMMAND, "client|id")


def test_permissions_can_be_looked_up_by_name():
    """`permitted` holds what needs no look at arguments, and nothing else."""
    assert user("+ping", "+subscribe", "&a").permitted == {"ping", "auth", "hello"}
    assert "subscribe" in user("+subscribe", "&*").permitted


def test_subscriptions_may_be_kept_as_long_as_rules_have_them():
    """Names are matched, patterns compared."""
    made = user("&a*", "(&b)")
    assert made.may_keep([b"ax", b"b"], [b"a*"])
    assert not made.may_keep([b"c"], [])
    assert not made.may_keep([], [b"ab"])


def test_passwords():
    """Any of a user's passwords opens, if the user is on; nopass takes any."""
    made = acl("on", ">one", f"#{HASH}")
    assert made.authenticate(b"u", b"one") is made.users["u"]
    assert made.authenticate(b"u", b"secret") is made.users["u"]
    assert made.authenticate(b"u", b"") is None
    assert made.authenticate(b"nobody", b"one") is None
    made.set_user("u", ["off"])
    assert made.authenticate(b"u", b"one") is None
    assert made.authenticate(b"default", b"anything") is made.default


def test_passwords_are_not_kept():
    """Neither a description nor the object holds a password in clear."""
    made = user("on", ">pass-word")
    assert "pass-word" not in made.describe() + repr(made)


def test_the_default_user_can_be_given_a_password_by_requirepass():
    """Without it every connection is logged in from the start."""
    assert not acl().default_needs_password
    made = acl(requirepass="secret")
    assert made.default_needs_password
    assert made.describe_users()[0] == f"user default on sanitize-payload #{HASH} ~* &* +@all"


def test_a_user_line_for_default_replaces_requirepass():
    """The line describes the whole user."""
    made = acl(requirepass="x", user_lines=[["default", "on", "nopass", "+ping"]])
    assert made.default.describe() == "on nopass sanitize-payload resetchannels -@all +ping"


def test_users_are_described_sorted_by_name():
    """The same users always give the same lines."""
    made = acl(user_lines=[["b", "on"], ["a", "(+ping", "&x)"]])
    assert [line.split()[1] for line in made.describe_users()] == ["a", "b", "default", "u"]
    assert made.describe_users()[0].endswith("-@all (resetchannels &x -@all +ping)")


def test_channels_can_be_open_by_default():
    """acl-pubsub-default allchannels holds for new users, selectors and reset."""
    made = user("(+ping)", pubsub_default_all=True)
    assert made.describe() == "off sanitize-payload &* -@all (&* -@all +ping)"
    made.change(["resetchannels", "reset"])
    assert made.describe() == "off sanitize-payload &* -@all"


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        ([["a", "on"], ["a", "on"]], "Error in user declaration 'a': Duplicate user found. "
         "A user can only be defined once in config files"),
        ([["a", "what"]], "Error in user declaration 'a': Syntax error"),
        ([["a", "(+ping"]], "Error in user declaration 'a': Unmatched parenthesis in acl selector "
         "starting at '(+ping'."),
        ([["a", "+get"]], "Error loading ACL rule '+get' for the user named 'a': " + UNKNOWN),
        ([["a b", "on"]], "Spaces not allowed in ACL usernames"),
    ],
)  # fmt: skip
def test_a_bad_user_line_is_told_in_one_line(lines, text):
    """The text names the user and the reason."""
    with pytest.raises(AclError) as raised:
        acl(user_lines=lines)
    assert str(raised.value) == text


class File:
    """An ACL file in memory."""

    def __init__(self, text=""):
        self.text = text
        self.store = AclStore("users.acl", lambda: self.text, self.write)

    def write(self, text):
        self.text = text


def test_the_acl_file_is_read_and_written():
    """What is saved is loaded again; who is not in the file is gone; default is always there."""
    file = File("user a on nopass +ping\n\nuser b (+role &x)\r\n")
    made = acl(store=file.store)
    made.save()
    assert file.text.splitlines() == made.describe_users()
    a, default = made.users["a"], made.default
    made.set_user("default", ["off"])
    file.text = "user a on\n"
    made.load()
    assert sorted(made.users) == ["a", "default"]
    assert made.users["a"] is a
    assert made.default is default
    assert made.default.describe() == "on nopass sanitize-payload ~* &* +@all"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("# x", "users.acl:1 should start with user keyword followed by the username. "),
        ("user a on\nuser a on", "WARNING: Duplicate user 'a' found on line 2. "),
        ("user a\tb on", "'users.acl:1: username 'a\tb' contains invalid characters. "),
        ("user a (+ping", "users.acl:1: Unmatched parenthesis in selector definition."),
        ("\nuser a what +get why", "users.acl:2: Syntax error. users.acl:2: Error in applying "
         f"operation '+get': {UNKNOWN}. "),
    ],
)  # fmt: skip
def test_a_bad_acl_file_changes_nothing(text, complaint):
    """All that is wrong is told in one line, and the users stay as they are."""
    file = File()
    made = acl("on", store=file.store)
    file.text = text
    with pytest.raises(AclError) as raised:
        made.load()
    assert str(raised.value) == (
        complaint + "WARNING: ACL errors detected, "
        "no change to the previously active ACL rules was performed"
    )
    assert "u" in made.users


def test_an_acl_file_that_cannot_be_read_is_told():
    """The reason is that of the system."""

    def read():
        raise FileNotFoundError(2, "No such file or directory")

    store = AclStore("users.acl", read, print)
    with pytest.raises(AclError, match=r"opening file 'users.acl': No such file or directory$"):
        acl(store=store)


def test_users_stand_in_one_place():
    """User lines and an ACL file together are refused."""
    with pytest.raises(AclError, match="not in both"):
        acl(user_lines=[["a", "on"]], store=File().store)


def test_alike_refusals_share_a_log_entry():
    """Same reason, object and user within a minute; the entry moves to the front."""
    log = AclLog()
    log.add(1000, COMMAND, "get", "u", "first")
    log.add(2000, COMMAND, "set", "u", "second")
    log.add(1000 + GROUPING_MS, COMMAND, "get", "u", "third")
    newest = log.entries[0]
    assert (newest.count, newest.created_at, newest.client_info) == (2, 1000, "third")
    log.add(2001 + 2 * GROUPING_MS, COMMAND, "get", "u", "fourth")
    log.add(2001 + 2 * GROUPING_MS, COMMAND, "get", "v", "fifth")
    assert [entry.entry_id for entry in log.entries] == [3, 2, 0, 1]
    assert log.denied == {Reason.AUTH: 0, COMMAND: 5, CHANNEL: 0}


def test_the_log_is_bounded():
    """The oldest entries go first."""
    log = AclLog(max_entries=2)
    for name in ("a", "b", "c"):
        log.add(0, COMMAND, name, "u", "")
    assert [entry.object for entry in log.entries] == ["c", "b"]


@pytest.mark.parametrize(
    "rule", ["+ping|a\nuser evil on nopass +@all", "~a\nb", "&a\nb", "+ping|a b", "+ping|\0"]
)
def test_no_rule_has_a_line_end(rule):
    """It would begin another line of the file that keeps it."""
    with pytest.raises(RuleError):
        user(rule)
