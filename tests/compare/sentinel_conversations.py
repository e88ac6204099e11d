"""What both are asked as sentinels: every subcommand of SENTINEL, well and badly used."""

from .conversation import Conversation

CONVERSATIONS = (
    Conversation(
        "Masters, replicas, sentinels",
        """
        SENTINEL MASTER mymaster
        SENTINEL MASTER lonely
        SENTINEL MASTER nobody
        SENTINEL MASTER MyMaster
        SENTINEL MASTERS
        SENTINEL REPLICAS mymaster
        SENTINEL REPLICAS lonely
        SENTINEL REPLICAS nobody
        SENTINEL SLAVES mymaster
        SENTINEL SLAVES nobody
        SENTINEL SENTINELS mymaster
        SENTINEL SENTINELS nobody
        SENTINEL GET-MASTER-ADDR-BY-NAME mymaster
        SENTINEL GET-MASTER-ADDR-BY-NAME nobody
        sentinel get-master-addr-by-name mymaster
        SENTINEL CKQUORUM mymaster
        SENTINEL CKQUORUM lonely
        SENTINEL CKQUORUM nobody
        SENTINEL INFO-CACHE mymaster
        SENTINEL INFO-CACHE nobody
        SENTINEL INFO-CACHE lonely nobody lonely
        SENTINEL MYID
        SENTINEL PENDING-SCRIPTS
        SENTINEL HELP
        SENTINEL DEBUG
        ROLE
        """,
    ),
    Conversation(
        "Wrong numbers of arguments of SENTINEL",
        """
        SENTINEL
        SENTINEL FOO
        SENTINEL "bad\\r\\nword"
        SENTINEL CKQUORUM
        SENTINEL CKQUORUM a b
        SENTINEL CONFIG
        SENTINEL CONFIG GET
        SENTINEL CONFIG SET
        SENTINEL CONFIG SET announce-port
        SENTINEL CONFIG FOO bar
        SENTINEL DEBUG foo
        SENTINEL FAILOVER
        SENTINEL FAILOVER a b
        SENTINEL FLUSHCONFIG now
        SENTINEL GET-MASTER-ADDR-BY-NAME
        SENTINEL GET-MASTER-ADDR-BY-NAME a b
        SENTINEL HELP me
        SENTINEL INFO-CACHE
        SENTINEL IS-MASTER-DOWN-BY-ADDR 127.0.0.1 1 0
        SENTINEL IS-MASTER-DOWN-BY-ADDR 127.0.0.1 1 0 * x
        SENTINEL MASTER
        SENTINEL MASTER a b
        SENTINEL MASTERS all
        SENTINEL MONITOR a 127.0.0.1 1
        SENTINEL MONITOR a 127.0.0.1 1 2 3
        SENTINEL MYID x
        SENTINEL PENDING-SCRIPTS x
        SENTINEL REMOVE
        SENTINEL REPLICAS
        SENTINEL RESET
        SENTINEL SENTINELS
        SENTINEL SET mymaster quorum
        SENTINEL SET
        SENTINEL SIMULATE-FAILURE
        SENTINEL SLAVES
        """,
    ),
    Conversation(
        "Is the master down",
        """
        SENTINEL IS-MASTER-DOWN-BY-ADDR 127.0.0.1 $master 0 *
        SENTINEL IS-MASTER-DOWN-BY-ADDR 127.0.0.1 1 0 *
        SENTINEL IS-MASTER-DOWN-BY-ADDR 127.0.0.1 70000 0 *
        SENTINEL IS-MASTER-DOWN-BY-ADDR 127.0.0.1 abc 0 *
        SENTINEL IS-MASTER-DOWN-BY-ADDR 127.0.0.1 1 abc *
        SENTINEL IS-MASTER-DOWN-BY-ADDR 127.0.0.1 +1 0 *
        SENTINEL IS-MASTER-DOWN-BY-ADDR 127.0.0.1 01 0 *
        SENTINEL IS-MASTER-DOWN-BY-ADDR localhost $master 0 *
        SENTINEL IS-MASTER-DOWN-BY-ADDR 127.0.0.1 $master 0 somebody
        SENTINEL IS-MASTER-DOWN-BY-ADDR 127.0.0.1 1 0 somebody
        """,
    ),
    Conversation(
        "Orders to watch and to forget a master",
        """
        SENTINEL MONITOR mymaster 127.0.0.1 $master 2
        SENTINEL MONITOR new 127.0.0.1 $spare abc
        SENTINEL MONITOR new 127.0.0.1 $spare 0
        SENTINEL MONITOR new 127.0.0.1 $spare -1
        SENTINEL MONITOR new 127.0.0.1 $spare +1
        SENTINEL MONITOR new 127.0.0.1 abc 1
        SENTINEL MONITOR new 127.0.0.1 65536 1
        SENTINEL MONITOR new 127.0.0.1 -1 1
        SENTINEL MONITOR new 127.0.0.1 abc abc
        SENTINEL MONITOR new localhost $spare 1
        SENTINEL MONITOR new 300.0.0.1 $spare 1
        SENTINEL MONITOR new not.a.host $spare 1
        SENTINEL MONITOR new 127.0.0.1 $spare 1
        SENTINEL MONITOR new 127.0.0.1 $spare 1
        SENTINEL GET-MASTER-ADDR-BY-NAME new
        SENTINEL SET new auth-user bob
        SENTINEL SET new auth-pass secret
        SENTINEL SET new auth-pass ""
        SENTINEL RESET nobody
        SENTINEL RESET ne[v-x]
        SENTINEL RESET NEW
        SENTINEL RESET n?w
        SENTINEL REMOVE new
        SENTINEL REMOVE new
        SENTINEL GET-MASTER-ADDR-BY-NAME new
        """,
    ),
    Conversation(
        "Options of a master",
        """
        SENTINEL SET nobody quorum 2
        SENTINEL SET mymaster foo 1
        SENTINEL SET mymaster QUORUM 2
        SENTINEL SET mymaster quorum 0
        SENTINEL SET mymaster quorum -1
        SENTINEL SET mymaster quorum abc
        SENTINEL SET mymaster quorum ""
        SENTINEL SET mymaster quorum 2 quorum
        SENTINEL SET mymaster quorum 2 foo 1
        SENTINEL SET mymaster down-after-milliseconds 0
        SENTINEL SET mymaster down-after-milliseconds 1x
        SENTINEL SET mymaster down-after-milliseconds 5000
        SENTINEL SET mymaster down-after-milliseconds 05000
        SENTINEL SET mymaster failover-timeout 0
        SENTINEL SET mymaster failover-timeout 9223372036854775808
        SENTINEL SET mymaster failover-timeout 60000
        SENTINEL SET mymaster parallel-syncs 0
        SENTINEL SET mymaster parallel-syncs 1
        SENTINEL SET mymaster master-reboot-down-after-period -1
        SENTINEL SET mymaster master-reboot-down-after-period 0
        SENTINEL SET mymaster notification-script /bin/true
        SENTINEL SET mymaster client-reconfig-script ""
        SENTINEL SET mymaster rename-command PING
        SENTINEL SET mymaster rename-command "" x
        SENTINEL SET mymaster rename-command CONFIG ""
        SENTINEL SET mymaster rename-command CONFIG CONFIG
        SENTINEL SET mymaster rename-command LOLWUT lol rename-command lolwut LOLWUT
        SENTINEL MASTER mymaster
        """,
    ),
    Conversation(
        "Notices of what was ordered",
        """
        PSUBSCRIBE ?set ?monitor +reset-master => 3
        SENTINEL SET mymaster parallel-syncs 2 => 2
        SENTINEL SET mymaster parallel-syncs 1 RENAME-COMMAND lolwut lol => 3
        SENTINEL SET mymaster rename-command lolwut lolwut quorum 0 => 2
        SENTINEL MONITOR new 127.0.0.1 $spare 1 => 2
        SENTINEL SET new auth-pass secret auth-pass "" => 3
        SENTINEL RESET n* => 2
        SENTINEL REMOVE new => 2
        """,
        protocols=(3,),
    ),
    Conversation(
        "Settings of the sentinel",
        """
        SENTINEL CONFIG GET *
        SENTINEL CONFIG GET ANNOUNCE-*
        SENTINEL CONFIG GET nothing
        SENTINEL CONFIG GET announce-ip announce-port
        SENTINEL CONFIG GET announce-port announce-*
        SENTINEL CONFIG SET foo bar
        SENTINEL CONFIG SET announce-port abc
        SENTINEL CONFIG SET announce-port 65536
        SENTINEL CONFIG SET announce-port -1
        SENTINEL CONFIG SET announce-port 0
        SENTINEL CONFIG SET resolve-hostnames maybe
        SENTINEL CONFIG SET resolve-hostnames no
        SENTINEL CONFIG SET announce-hostnames NO
        SENTINEL CONFIG SET loglevel loud
        SENTINEL CONFIG SET announce-port 0 announce-port 0
        SENTINEL CONFIG SET announce-port 0 resolve-hostnames
        SENTINEL CONFIG SET announce-port 0 resolve-hostnames no
        SENTINEL FLUSHCONFIG
        """,
    ),
    Conversation(
        "Constants and failures",
        """
        SENTINEL DEBUG info-period
        SENTINEL DEBUG foo 1
        SENTINEL DEBUG info-period 0
        SENTINEL DEBUG info-period abc
        SENTINEL DEBUG info-period 10000
        SENTINEL DEBUG INFO-PERIOD 10000 ask-period 1000
        SENTINEL DEBUG info-period 10000 foo 1
        SENTINEL DEBUG tilt-period 30000 tilt-trigger
        SENTINEL DEBUG
        SENTINEL SIMULATE-FAILURE help
        SENTINEL SIMULATE-FAILURE foo
        SENTINEL FAILOVER nobody
        SENTINEL FAILOVER lonely
        """,
    ),
)
