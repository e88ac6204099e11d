"""Every difference from redis-sentinel 7.0 that is meant, and why.

`…` stands for any text; indentation does not count. A row explains one line that only
redis-sentinel has, one that only we have, or the two together as a replacement. A row that explains
nothing any more is reported as well.
"""

import re
from dataclasses import dataclass

NEWER = "as Redis 7.2 and later"
COORDINATED = "FAILOVER takes COORDINATED too"
NAME_AFTER_LOGIN = "no name before the login, as 7.2"
OWN_WORDS = "the same in our own words"
REPLY_FIRST = "the reply, then notices, as 7.2"
SECOND_NAMES = "setinfo is in the list, for slaves"
UNSAVED = "says since when the state cannot be saved, and why"
WHO_WE_ARE = "says what we are"


@dataclass(frozen=True)
class Explained:
    """`theirs` and `ours` are lines of the replies to requests that look like `request`."""

    request: str
    theirs: str
    ours: str
    reason: str = NEWER

    def explain(self, difference):
        """Mark the lines that this row explains; tells whether there were any."""
        if not matches(self.request, difference.request):
            return False
        sides = (("-", self.theirs), ("+", self.ours))
        lines = [difference.unexplained(sign, text) for sign, text in sides if text]
        if None in lines:
            return False
        for line in lines:
            line.reason = self.reason
        return True


def matches(pattern, text):
    return re.fullmatch(".*".join(map(re.escape, pattern.split("…"))), text) is not None


_CONFIG_USAGE = "-ERR Only SENTINEL CONFIG GET <option> / SET <option> <value> are supported."
_NO_SETINFO = "-ERR unknown subcommand 'SETINFO'. Try CLIENT HELP."
_MAY_NOT = "has no permissions to run the '…' command"

EXPLAINED = (
    # SENTINEL
    Explained("SENTINEL HELP", "+CONFIG SET <param> <value>", "+CONFIG SET <param> <value> […"),
    Explained("SENTINEL HELP", "+CONFIG GET <param>", "+CONFIG GET <param> [<param> …"),
    Explained("… HELP", "+    Prints this help.", "+    Print this help."),
    Explained("SENTINEL HELP", "+    …", "", OWN_WORDS),
    Explained("SENTINEL HELP", "", "+    …", OWN_WORDS),
    Explained("SENTINEL CONFIG …", _CONFIG_USAGE, "-ERR wrong number of arguments for 'sentinel|…"),
    Explained("SENTINEL CONFIG …", _CONFIG_USAGE, "-ERR Only SENTINEL CONFIG GET <param> […"),
    Explained("SENTINEL CONFIG SET …", _CONFIG_USAGE, "-ERR Duplicate argument…"),
    Explained("SENTINEL CONFIG SET …", _CONFIG_USAGE, "-ERR Missing argument…"),
    Explained("SENTINEL CONFIG SET …", _CONFIG_USAGE, "+OK"),
    Explained("SENTINEL CONFIG SET loglevel loud", "-ERR Invalid argument…", "-ERR Invalid value…"),
    Explained("SENTINEL CONFIG GET *", "*12", "*14"),
    Explained("SENTINEL CONFIG GET *", "%6", "%7"),
    Explained("SENTINEL CONFIG GET *", "", "$loglevel"),
    Explained("SENTINEL CONFIG GET *", "", "$notice"),
    Explained("SENTINEL CONFIG GET announce-ip …", _CONFIG_USAGE, "*4"),
    Explained("SENTINEL CONFIG GET announce-ip …", _CONFIG_USAGE, "%2"),
    Explained("SENTINEL CONFIG GET announce-port …", _CONFIG_USAGE, "*6"),
    Explained("SENTINEL CONFIG GET announce-port …", _CONFIG_USAGE, "%3"),
    Explained("SENTINEL CONFIG GET announce-… announce-…", "", "$…"),
    Explained("SENTINEL … => …", "+OK", "+OK", REPLY_FIRST),
    Explained("SENTINEL RESET … => 2", ":1", ":1", REPLY_FIRST),
    Explained("SENTINEL SET … quorum 0 => 2", "-ERR Invalid …", "-ERR Invalid …", REPLY_FIRST),
    # COMMAND
    Explained("COMMAND LIST", "$sentinel|slaves", "$client|setinfo", SECOND_NAMES),
    Explained("COMMAND INFO …sentinel|config…", ":-3", ":-4"),
    Explained("COMMAND INFO …sentinel|failover", ":3", ":-3", COORDINATED),
    Explained("COMMAND INFO … client|setinfo", "$-1", "*10"),
    Explained("COMMAND INFO … client|setinfo", "_", "*10"),
    Explained("COMMAND INFO … client|setinfo", "", "…"),
    Explained("COMMAND DOCS …", "…", "", OWN_WORDS),
    Explained("COMMAND DOCS …", "", "…", OWN_WORDS),
    # CLIENT
    Explained("CLIENT INFO", "…=txt:id=…", "…=txt:id=… watch=0 … lib-name= lib-ver=…"),
    Explained("CLIENT INFO", "$id=…", "$id=… watch=0 … lib-name= lib-ver="),
    Explained("CLIENT KILL MAXAGE …", "-ERR syntax error", ":0"),
    Explained("CLIENT SETINFO …", _NO_SETINFO, "+OK"),
    Explained("CLIENT SETINFO …", _NO_SETINFO, "-ERR lib-ver cannot contain spaces, …"),
    Explained("CLIENT SETINFO …", _NO_SETINFO, "-ERR Unrecognized option 'foo'"),
    Explained("CLIENT SETINFO …", _NO_SETINFO, "-ERR wrong number of arguments for 'client|set…"),
    Explained("CLIENT HELP", "*48", "*56"),
    Explained("CLIENT HELP", "", "+    * ID <client-id>"),
    Explained("CLIENT HELP", "", "+      Kill connections by client id."),
    Explained("CLIENT HELP", "", "+    * MAXAGE <maxage>"),
    Explained("CLIENT HELP", "", "+      Kill connections older than the specified age."),
    Explained("CLIENT HELP", "", "+SETINFO <option> <value>"),
    Explained("CLIENT HELP", "", "+    Set client meta attr. Options are:"),
    Explained("CLIENT HELP", "", "+    * LIB-…"),
    # ACL
    Explained("ACL LIST", "$user … on …", "$user … on … sanitize-payload …"),
    Explained("ACL LIST", "$user … on …", "$user … on sanitize-payload …"),
    Explained("ACL CAT connection", "*27", "*28"),
    Explained("ACL CAT connection", "", "$client|setinfo"),
    Explained("ACL GETUSER default", "*2", "*3"),
    Explained("ACL GETUSER default", "~2", "~3"),
    Explained("ACL GETUSER bob", "*1", "*2"),
    Explained("ACL GETUSER bob", "~1", "~2"),
    Explained("ACL GETUSER …", "", "$sanitize-payload"),
    Explained("ACL DRYRUN …", f"$This user {_MAY_NOT}", f"$User bob {_MAY_NOT}"),
    Explained("…", f"-NOPERM this user {_MAY_NOT}", f"-NOPERM User carol {_MAY_NOT}"),
    Explained(
        "SUBSCRIBE …",
        "-NOPERM this user has no permissions to access one of the channels used as arguments",
        "-NOPERM No permissions to access a channel",
    ),
    Explained("HELLO…", "-NOAUTH … the HELLO AUTH …", "-NOAUTH … the HELLO <proto> AUTH …"),
    Explained("HELLO … wrong SETNAME …", "-WRONGPASS …", "-ERR Client names cannot contain …"),
    Explained("CLIENT GETNAME", "$bob", "$-1", NAME_AFTER_LOGIN),
    Explained("ACL LOG", "*14", "*20"),
    Explained("ACL LOG", "$id=…", "$id=… watch=0 … lib-name= lib-ver="),
    Explained("ACL LOG", "", "$entry-id"),
    Explained("ACL LOG", "", "$timestamp-…"),
    Explained("ACL LOG", "", "<measured>"),
    # INFO
    Explained("INFO…", "", "listener0:name=tcp,bind=127.0.0.1,port=<sentinel>"),
    Explained("INFO…", "", "server_name:sentinel_py", WHO_WE_ARE),
    Explained("INFO…", "", "sentinel_py_version:…", WHO_WE_ARE),
    Explained("INFO…", "", "pubsub_clients:0"),
    Explained("INFO…", "", "watching_clients:0"),
    Explained("INFO…", "", "total_watched_keys:0"),
    Explained("INFO…", "", "total_blocking_keys:0"),
    Explained("INFO…", "", "total_blocking_keys_on_nokey:0"),
    Explained("INFO…", "", "eventloop_…:0"),
    Explained("INFO…", "", "instantaneous_eventloop_…:0"),
    Explained("INFO…", "", "acl_access_denied_…"),
    Explained("INFO…", "", "sentinel_unsaved_since_seconds:-1", UNSAVED),
    Explained("INFO…", "", "sentinel_save_error:", UNSAVED),
)
