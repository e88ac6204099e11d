"""What both are asked as servers: all other commands, users and logins, and malformed requests."""

from .conversation import Bytes, Conversation

CONVERSATIONS = (
    Conversation(
        "Commands that there are, and commands that there are not",
        """
        PING
        PING hello
        PING a b
        ping
        PiNg "two words"
        ECHO hello
        QUIT
        RESET
        GET key
        SELECT 0
        MULTI
        CONFIG GET port
        FOO
        FOO "" "b\\nc"
        "" x
        FOO a b c d e f g h i j k l m n o p q r s t u v w x y z
        $long
        FOO $long
        FOO $long b
        ROLE x
        SHUTDOWN foo
        SHUTDOWN NOSAVE SAVE
        SHUTDOWN NOSAVE ABORT
        SHUTDOWN ABORT
        PUBLISH
        PUBLISH channel
        PUBLISH channel message
        PUBLISH __sentinel__:hello nonsense
        PUBLISH __sentinel__:hello a,b,c,d,e,f,g,h
        PUBLISH __sentinel__:hello 127.0.0.1,1,x,0,nobody,127.0.0.1,1,0
        PUBSUB CHANNELS
        SSUBSCRIBE a
        MONITOR
        """,
    ),
    Conversation(
        "COMMAND",
        """
        COMMAND COUNT
        COMMAND COUNT x
        COMMAND FOO
        COMMAND LIST
        COMMAND LIST FILTERBY
        COMMAND LIST FILTERBY PATTERN p*
        COMMAND LIST FILTERBY PATTERN sentinel|m*
        COMMAND LIST FILTERBY ACLCAT pubsub
        COMMAND LIST FILTERBY ACLCAT nothing
        COMMAND LIST FILTERBY MODULE nothing
        COMMAND LIST FILTERBY FOO bar
        COMMAND LIST FOO PATTERN p*
        COMMAND INFO ping
        COMMAND INFO PING nothing auth
        COMMAND INFO hello info role shutdown publish
        COMMAND INFO subscribe unsubscribe psubscribe punsubscribe
        COMMAND INFO client|caching client|getname client|getredir client|help client|id
        COMMAND INFO client|info client|kill client|list client|no-evict client|pause client|reply
        COMMAND INFO client|setname client|tracking client|trackinginfo client|unblock
        COMMAND INFO client|unpause client|setinfo
        COMMAND INFO sentinel|ckquorum sentinel|config sentinel|debug sentinel|failover
        COMMAND INFO sentinel|flushconfig sentinel|get-master-addr-by-name sentinel|help
        COMMAND INFO sentinel|info-cache sentinel|is-master-down-by-addr sentinel|master
        COMMAND INFO sentinel|masters sentinel|monitor sentinel|myid sentinel|pending-scripts
        COMMAND INFO sentinel|remove sentinel|replicas sentinel|reset sentinel|sentinels
        COMMAND INFO sentinel|set sentinel|simulate-failure sentinel|slaves
        COMMAND INFO client|
        COMMAND INFO ping|pong
        COMMAND INFO acl
        COMMAND INFO command
        COMMAND DOCS nothing
        COMMAND GETKEYS
        COMMAND GETKEYS ping
        COMMAND GETKEYS ping x
        COMMAND GETKEYS foo bar
        COMMAND GETKEYS ping a b c
        COMMAND GETKEYSANDFLAGS ping x
        COMMAND GETKEYSANDFLAGS foo bar
        COMMAND HELP
        COMMAND HELP x
        """,
    ),
    Conversation(
        "COMMAND DOCS",
        """
        COMMAND DOCS ping publish
        COMMAND DOCS auth hello
        COMMAND DOCS client|list
        COMMAND DOCS sentinel|master
        """,
        protocols=(3,),
    ),
    Conversation(
        "CLIENT",
        """
        CLIENT
        CLIENT FOO
        CLIENT GETNAME
        CLIENT SETNAME "two words"
        CLIENT SETNAME bob
        CLIENT GETNAME
        CLIENT SETNAME ""
        CLIENT GETNAME
        CLIENT GETNAME x
        CLIENT INFO
        CLIENT LIST ID 0
        CLIENT LIST ID abc
        CLIENT LIST ID
        CLIENT LIST TYPE foo
        CLIENT LIST TYPE master
        CLIENT LIST TYPE pubsub
        CLIENT LIST TYPE
        CLIENT LIST FOO
        CLIENT KILL
        CLIENT KILL 127.0.0.1:1
        CLIENT KILL ID 0
        CLIENT KILL ID abc
        CLIENT KILL ID 99999
        CLIENT KILL ADDR 127.0.0.1:1
        CLIENT KILL LADDR 127.0.0.1:1
        CLIENT KILL TYPE foo
        CLIENT KILL TYPE pubsub
        CLIENT KILL USER nobody
        CLIENT KILL SKIPME maybe
        CLIENT KILL FOO bar
        CLIENT KILL ID 1 TYPE
        CLIENT KILL MAXAGE 100000
        CLIENT NO-EVICT on
        CLIENT NO-EVICT off
        CLIENT NO-EVICT maybe
        CLIENT NO-TOUCH on
        CLIENT PAUSE abc
        CLIENT PAUSE -1
        CLIENT PAUSE 0 FOO
        CLIENT PAUSE 0 WRITE
        CLIENT UNPAUSE
        CLIENT UNBLOCK abc
        CLIENT UNBLOCK 99999
        CLIENT UNBLOCK 99999 FOO
        CLIENT REPLY FOO
        CLIENT REPLY ON
        CLIENT REPLY SKIP => 0
        PING => 0
        PING
        CLIENT REPLY OFF => 0
        PING => 0
        CLIENT REPLY ON
        CLIENT SETINFO lib-name bob
        CLIENT SETINFO lib-ver "1 2"
        CLIENT SETINFO foo bar
        CLIENT SETINFO lib-name
        CLIENT TRACKINGINFO
        CLIENT GETREDIR
        CLIENT CACHING yes
        CLIENT TRACKING foo
        CLIENT TRACKING on
        CLIENT TRACKINGINFO
        CLIENT TRACKING on FOO
        CLIENT TRACKING on REDIRECT 99999
        CLIENT TRACKING on OPTIN OPTOUT
        CLIENT TRACKING off
        CLIENT GETREDIR
        CLIENT HELP
        CLIENT HELP x
        """,
    ),
    Conversation(
        "Subscriptions",
        """
        SUBSCRIBE
        UNSUBSCRIBE
        PUNSUBSCRIBE
        UNSUBSCRIBE nothing
        SUBSCRIBE a b a => 3
        PSUBSCRIBE a* => 1
        PING
        PING hello
        CLIENT GETNAME
        SENTINEL MASTERS
        GET key
        PUBLISH a b
        SUBSCRIBE
        UNSUBSCRIBE a
        UNSUBSCRIBE nothing
        PUNSUBSCRIBE
        UNSUBSCRIBE
        PING
        """,
    ),
    Conversation(
        "HELLO",
        """
        HELLO
        HELLO 2
        HELLO 4
        HELLO 1
        HELLO abc
        HELLO 2 FOO
        HELLO 2 AUTH default
        HELLO 2 SETNAME
        HELLO 2 SETNAME "two words"
        HELLO 2 SETNAME bob
        CLIENT GETNAME
        HELLO 2 AUTH default any SETNAME alice
        HELLO 3 AUTH nobody x
        HELLO 3
        HELLO 2
        """,
        protocols=(2,),
    ),
    Conversation(
        "AUTH",
        """
        AUTH
        AUTH x
        AUTH default x
        AUTH nobody x
        AUTH a b c
        """,
        protocols=(2,),
    ),
    Conversation(
        "ACL",
        """
        ACL
        ACL FOO
        ACL WHOAMI
        ACL USERS
        ACL LIST
        ACL CAT
        ACL CAT pubsub
        ACL CAT nothing
        ACL CAT connection
        ACL GETUSER default
        ACL GETUSER nobody
        ACL SETUSER bob on >secret +ping &x*
        ACL GETUSER bob
        ACL LIST
        ACL DRYRUN bob ping
        ACL DRYRUN bob info
        ACL DRYRUN nobody ping
        ACL DRYRUN bob nothing
        ACL DRYRUN bob ping a b c
        ACL SETUSER bob +get
        ACL SETUSER bob +@read
        ACL SETUSER bob foo
        ACL SETUSER bob >
        ACL SETUSER bob #abc
        ACL SETUSER bob <nothing
        ACL SETUSER "b b" on
        ACL SETUSER bob ~key
        ACL SETUSER bob allkeys ~key
        ACL SETUSER bob allchannels &x
        ACL DELUSER bob nobody
        ACL DELUSER default
        ACL GENPASS 4097
        ACL GENPASS 0
        ACL GENPASS abc
        ACL SAVE
        ACL LOAD
        ACL LOG RESET
        ACL LOG
        ACL LOG foo
        ACL LOG -1
        ACL HELP
        ACL HELP x
        """,
    ),
    Conversation(
        "A user who may do little",
        """
        ACL SETUSER carol on >secret +ping +sentinel|masters +subscribe &x* +acl|whoami
        AUTH carol wrong
        AUTH carol secret
        ACL WHOAMI
        PING
        INFO
        SENTINEL MASTER mymaster
        SENTINEL FOO
        SENTINEL
        GET key
        SUBSCRIBE y
        SUBSCRIBE x y
        AUTH default any
        ACL LOG
        ACL LOG RESET
        ACL DELUSER carol
        """,
        protocols=(2,),
    ),
    Conversation(
        "A password for everybody",
        """
        ACL SETUSER admin on nopass +@all
        ACL SETUSER default resetpass >secret
        """,
        protocols=(2,),
    ),
    Conversation(
        "Nobody is logged in",
        """
        PING
        SENTINEL MASTERS
        FOO
        SENTINEL FOO
        SENTINEL MASTER
        CLIENT GETNAME
        SUBSCRIBE a
        HELLO
        HELLO 3
        HELLO 4
        HELLO 2 SETNAME bob
        HELLO 2 AUTH default wrong
        HELLO 3 AUTH default wrong SETNAME "two words"
        AUTH wrong
        AUTH default wrong
        AUTH secret
        CLIENT GETNAME
        PING
        AUTH wrong
        PING
        ACL SETUSER default off
        PING
        ACL WHOAMI
        """,
        protocols=(2,),
    ),
    Bytes(
        "Too much before a login",
        (
            b"*11\r\n",
            b"*10\r\n$4\r\nPING\r\n",
            b"*1\r\n$16385\r\n",
            b"*1\r\n$16384\r\n",
            b"PING\r\n",
        ),
    ),
    Conversation(
        "The default user is off",
        """
        PING
        AUTH secret
        AUTH admin any
        ACL SETUSER default on nopass
        ACL DELUSER admin
        """,
        protocols=(2,),
    ),
    Conversation(
        "INFO",
        """
        INFO
        INFO server
        INFO SENTINEL
        INFO clients stats
        INFO default
        INFO all
        INFO everything
        INFO cpu nothing
        INFO nothing
        INFO replication
        """,
    ),
    Bytes(
        "Inline requests",
        (
            b"PING\r\n",
            b"PING\n",
            b"\r\nPING\r\n",
            b"   PING   hello  \r\n",
            b'PING "a \\x41 \\n b"\r\n',
            b"PING 'it\\'s'\r\n",
            b'PING "a\r\n',
            b'PING "a"b\r\n',
            b"PING 'a'b\r\n",
            b"sentinel get-master-addr-by-name mymaster\r\n",
            b"*0\r\nPING\r\n",
            b"*-1\r\nPING\r\n",
            b"x" * 70_000,
        ),
    ),
    Bytes(
        "Broken requests",
        (
            b"*abc\r\n",
            b"*2147483648\r\n",
            b"*1\r\n:1\r\n",
            b"*1\r\nPING\r\n",
            b"*1\r\n\r\n",
            b"*1\r\n$-1\r\n",
            b"*1\r\n$abc\r\n",
            b"*1\r\n$536870913\r\n",
            b"*1\r\n$4\r\nPINGxx",
            b"*1\r\n$4\r\nPING\r\n*1\r\n$abc\r\n*1\r\n$4\r\nPING\r\n",
            b"*" + b"1" * 70_000,
            b"*1\r\n$" + b"1" * 70_000,
            b"*1\r\n$0\r\n\r\n",
            b"* 1\r\n",
            b"*+1\r\n",
            b"*01\r\n",
        ),
    ),
    Bytes("A browser", (b"POST / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: x\r\nPING\r\n")),
    Bytes(
        "Pipelines",
        (
            b"PING\r\n" * 3,
            b"*1\r\n$4\r\nPING\r\nPING\r\n*2\r\n$4\r\nPING\r\n$1\r\nx\r\n",
            b"PING\r\nFOO\r\nPING x\r\n",
        ),
    ),
)
