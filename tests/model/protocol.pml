/* SPDX-License-Identifier: Apache-2.0 */
/* Recovery protocol between one LMDB env (per task) and one Kafka transaction per commit.
 * N instances contend for one task (one input partition, one changelog partition).
 * Inputs 1..K; the operator is a counter: state := state+1; every record carries the new state,
 * so the i-th decided record must carry exactly i, else something was lost, doubled or torn.
 * Compile-time switches select the fencing mode (MODE2 = one transactional.id per instance plus
 * group generation), parts of the protocol (CLAIM, TIMERS, RESUME) and the mutants (wrong protocols that
 * the checker must reject). check-model runs them all.
 * Epochs and generations are kept as "newest or not" (cur, el, own): only that is ever compared.
 * No coordinator time-out ends a dead owner's transaction (only -DDEADTMO does): what the final run needs it
 * must get by R3 or by takeover, else pan reports an invalid end state (blocked). The broker moves only
 * when it has something to do, so that this check means something.                                       */
#ifndef K
#define K 2        /* inputs */
#endif
#ifndef STARTS
#define STARTS 1   /* process starts of each instance; the final run is one more start of instance 0 */
#endif
#ifndef TMAX
#define TMAX 1     /* client time-outs of EndTxn */
#endif
#ifndef ABMAX
#define ABMAX 1    /* voluntary aborts */
#endif
#ifndef CTMAX
#define CTMAX 1    /* fencings from outside: transaction.timeout.ms, or an InitProducerId from anybody at any time */
#endif
#ifndef PFMAX
#define PFMAX 1    /* R3 pre-fence: throwaway handles whose InitProducerId may arrive late */
#endif
#ifndef RBMAX
#define RBMAX 1    /* rebalances that give the partition back to a living instance */
#endif
#ifndef TIMERS
#define TIMERS 0   /* timer callbacks: transactions that change state but no offset */
#endif
#ifndef N
#define N 2
#endif
#ifndef LM
#define LM 16      /* changelog size; more records than that = fencing without end */
#endif
#define SL 3
#ifdef MODE2
#define NT N
#define TID me
#else
#define NT 1
#define TID 0
#endif

/* ---- broker ---- */
byte ts[NT], last[NT], poff[NT];           /* ts: 0 empty 1 ongoing 2 prepare-commit 3 prepare-abort; poff: 1 + offset sent */
bool mko[NT], mkl[NT];                     /* markers still to be written: offsets topic, changelog */
bool ini[NT];                              /* InitProducerId of a throwaway handle in flight (pre-fence, takeover) */
byte hw, lso, lval[LM], lst[LM], lown[LM]; /* lst: 1 open 2 committed 3 aborted; lown: transactional.id */
bool lvis[LM];                             /* marker written */
byte coff, doff, dout, dtim;               /* visible committed offset; decided offset, records, timers */
#if defined(CLAIM) || TIMERS>0
byte lk[LM];                               /* record of: 0 an input, 1 a claim (R10: stamp only), 2 a timer */
#define KIND(x) lk[x]
#else
#define KIND(x) 0
#endif
#ifdef CLAIM
byte cmd;                                  /* 1 + id in the metadata of the visible committed offset */
#endif
byte own;                                  /* 1 + member whose metadata carries the present generation; all others are stale */
/* ---- EndTxn requests in flight (may be delayed, reordered, delivered after the client gave up) ---- */
bool eu[SL], ec[SL], el[SL]; byte et[SL], ew[SL]; /* el: sent with the newest epoch; ew: 1 + instance that still waits */
/* ---- instances ---- */
bool cur[N];                               /* the handle's epoch is the newest of its id */
byte starts[N], resp[N];                   /* resp: 0 none 1 ok 2 fatal */
bool ended[N], dead[N];
byte lv[N], lc[N];                         /* LMDB: value and changelog position */
#if defined(LOSECOMMIT) || defined(LMDBFIRST)
byte plv[N], plc[N];                       /* before the last LMDB commit */
#define KEEPOLD plv[D]=lv[D]; plc[D]=lc[D];
#else
#define KEEPOLD
#endif
#ifdef COMMSTAMP
byte lcs;                                  /* 1 + id in the last committed stamp */
#endif
#ifdef STAMPLAST
bool lsp[LM];                              /* the transaction's stamp has reached the log */
#endif
byte tmo, abn, ctm, pf, rb, tick; bool finalrun;

#define FREE(x) eu[x]=0; et[x]=0; ec[x]=0; ew[x]=0; el[x]=0

inline bump(t) {                           /* new epoch: older handles and their requests are fenced */
  d_step {
#ifdef MODE2
    cur[t] = 0;
#else
    cur[0] = 0; cur[1] = 0;
#endif
    i = 0;
    do
    :: i < SL -> if :: eu[i] && et[i]==t -> el[i] = 0; if :: !ew[i] -> FREE(i) :: else fi :: else fi; i++
    :: else -> break
    od; i = 0
  }
}
inline decide(t,c) {
  d_step {
    i = 0;
    do
    :: i < hw ->
       if
       :: lst[i]==1 && lown[i]==t ->
          if
          :: c -> lst[i] = 2;
               dout = dout + (KIND(i)!=1); dtim = dtim + (KIND(i)==2);
               assert(lval[i]==dout);                              /* I1a: no loss, no duplicate, right order */
               assert(i>=lc[0] && i>=lc[1])                        /* I2b: nothing below a store's position commits later */
          :: else -> lst[i] = 3; lval[i] = 0
          fi
       :: else
       fi; i++
    :: else -> break
    od;
    if :: c && poff[t]>0 -> doff = poff[t]-1 :: else fi;
    if :: c -> ts[t] = 2 :: else -> ts[t] = 3 fi;
    mko[t] = (poff[t]>0); mkl[t] = 1; i = 0;
    assert(!c || dout==doff+dtim)                                       /* I1: outputs+changelog+offsets atomic */
  }
}
inline complete(t) {
  if :: !mko[t] && !mkl[t] -> last[t] = ts[t]-1; ts[t] = 0; poff[t] = 0 :: else fi
}
inline marklog(t) {
  d_step {
    i = 0;
    do :: i<hw -> if :: lown[i]==t && lst[i]>=2 -> lvis[i] = 1 :: else fi; i++ :: else -> break od;
    do
    :: lso<hw && lvis[lso] ->
#ifdef COMMSTAMP
       if :: lst[lso]==2 -> lcs = lown[lso]+1 :: else fi;
#endif
       lso++
    :: else -> break
    od;
    mkl[t] = 0; complete(t); i = 0
  }
}
inline markoff(t) {
  d_step {
    if
    :: ts[t]==2 -> coff = poff[t]-1;
#ifdef CLAIM
       cmd = t+1
#endif
    :: else
    fi; mko[t] = 0; complete(t) }
}
inline initpid(t) {                        /* InitProducerId whose answer nobody uses; a prepared transaction makes it wait (retries) */
  if
  :: ts[t]==0 -> bump(t); last[t] = 0
  :: ts[t]==1 -> bump(t); decide(t,0)
  fi
}
inline deliver(x) {
  t = et[x];
  if
  :: !el[x] -> r = 2
  :: el[x] && ts[t]==1 -> decide(t, ec[x]); r = 1
  :: el[x] && ts[t]==0 -> if :: (last[t]==1 && ec[x]) || (last[t]==2 && !ec[x]) -> r = 1 :: else -> r = 2 fi
  fi;
  if :: ew[x] -> resp[ew[x]-1] = r :: else fi;
  FREE(x); t = 0; r = 0
}
#define CANDELIVER(x) (eu[x] && (!el[x] || ts[et[x]]!=2 && ts[et[x]]!=3))
#ifdef MODE2
#define LIVE(x) cur[x]
#else
#define LIVE(x) (cur[0] || cur[1])
#endif
#define OUTSIDE(x) (ctm<CTMAX && (ts[x]==1 || ts[x]==0 && LIVE(x)))
#define BROKER(x) \
  :: atomic { mkl[x] -> marklog(x) } \
  :: atomic { mko[x] -> markoff(x) } \
  :: atomic { ini[x] && ts[x]<2 -> ini[x] = 0; initpid(x) } \
  :: atomic { OUTSIDE(x) -> ctm++; initpid(x) }

active proctype Broker() {
  byte i, t, r;
end:
  do
  BROKER(0)
#ifdef MODE2
  BROKER(1)
#if N>2
  BROKER(2)
#endif
#ifdef DEADTMO
  :: atomic { ts[1]==1 && dead[1] -> bump(1); decide(1,0) }
#endif
#endif
  :: atomic { CANDELIVER(0) -> deliver(0) }             /* any EndTxn, in any order, at any time */
  :: atomic { CANDELIVER(1) -> deliver(1) }
  :: atomic { CANDELIVER(2) -> deliver(2) }
  od
}

#define UNST(t) (poff[t]>0 && (ts[t]==1 || mko[t]))     /* offsets written but their marker is not */
#if N>2
#define UNSTABLE (UNST(0) || UNST(1) || UNST(2))
#else
#define UNSTABLE (UNST(0) || UNST(1))
#endif
#ifdef MODE2
#define LOST (own!=me+1)
#define OFFSOK (own==me+1)                              /* step 4: the broker checks generation and member only */
#else
#define LOST (!cur[me])
#define OFFSOK 1
#endif
#ifdef FRESHMETA
#undef OFFSOK
#define OFFSOK 1                                        /* metadata of the present generation, whoever owns the partition */
#endif
/* R4, R7: the record that blocks, and the transactional.id read from it (the mutants read another one) */
#ifdef CLAIMID
#define SEEN (cmd>0)                                    /* metadata of the last committed offset */
#define BLOCKER (cmd-1)
#else
#ifdef COMMSTAMP
#define SEEN (lcs>0)
#define BLOCKER (lcs-1)
#else
#ifdef LASTSTAMP
#define SEEN (hw>0)
#define BLOCKER lown[hw-1]
#else
#ifdef STAMPLAST
#define SEEN (lso<hw && lsp[lso])
#else
#define SEEN (lso<hw)
#endif
#define BLOCKER lown[lso]                               /* the first open transaction of this changelog */
#endif
#endif
#endif
#ifdef OWNID
#define OTHER 1
#else
#define OTHER (BLOCKER!=TID)
#endif
#ifdef NOOWNCHK
#define STILLMINE 1
#else
#define STILLMINE (!LOST)
#endif
#define CANTAKE (SEEN && OTHER && STILLMINE && !ini[BLOCKER])

#define MAYRUN (fin || !finalrun)                       /* the group gives the partition to the final run for good */
#ifndef KILLOK
#define KILLOK 1
#endif
#ifdef SHARED
#define D 0
#else
#define D me
#endif

/* the last committed record below LSO, if newer than local position: changelog holds absolute values */
inline restore() {
  d_step {
    x = 0; rv = 255;
    do :: x < lso -> if :: lst[x]==2 && x>=lc[D] -> rv = lval[x] :: else fi; x++ :: else -> break od;
    if :: x > lc[D] -> KEEPOLD lc[D]=x; if :: rv<255 -> lv[D]=rv :: else fi :: else fi;
    rv=0; x=0
  }
}
/* I2: LMDB holds exactly the fold of the decided-committed changelog prefix it claims */
inline chklmdb() {
  d_step { x=0; n=0;
    do :: x < lc[D] -> if :: lst[x]==2 -> n = lval[x] :: else fi; x++ :: else -> break od;
    assert(lv[D]==n); x=0; n=0 }
}
inline giveup() {                                       /* nobody waits for an answer any more */
  d_step { x=0; resp[me]=0;
    do :: x<SL -> if :: eu[x] && ew[x]==me+1 -> ew[x]=0; if :: !el[x] -> FREE(x) :: else fi :: else fi; x++ :: else -> break od; x=0 }
}
#ifdef SELFCHECK
#define CHECK if :: lv[D]!=off+dtim -> goto DIE :: else fi   /* detect, stop, do not process */
#else
#define CHECK assert(lv[D]==off+dtim || LOST)              /* I3: while still the owner, restored state matches the committed offset */
#endif
/* every step may crash instead: first the restart budget, then for good */
#ifdef CLAIMSAFE
#define MAYCRASH (!fin && kind!=1)                      /* nobody dies inside a claim */
#else
#define MAYCRASH (!fin)
#endif
#define CRASH :: (MAYCRASH && starts[me]<STARTS) -> goto START :: (MAYCRASH && starts[me]>=STARTS && KILLOK) -> goto DIE
inline endtxn(c) {
  (!eu[0] || !eu[1] || !eu[2]); x=0; do :: eu[x] -> x++ :: else -> break od;
  eu[x]=1; et[x]=TID; ec[x]=c; ew[x]=me+1; el[x]=cur[me]; resp[me]=0; x=0
}
inline produce() {                                      /* output + changelog record */
    if
    CRASH
    :: !cur[me] -> goto FENCED
    :: cur[me] && ts[TID]<2 -> assert(hw<LM); ts[TID]=1; pos=hw; lval[hw]=v; lst[hw]=1; lown[hw]=TID;
#if defined(CLAIM) || TIMERS>0
       lk[hw]=kind;
#endif
       hw++
    fi
}
inline sendoffs() {                                     /* AddOffsetsToTxn + TxnOffsetCommit */
  atomic {
#ifdef CARRYTXN
    if :: LOST && rb<RBMAX && MAYRUN -> rb++; own=me+1 :: else fi; /* lost and regained inside a transaction, new metadata */
#endif
    if
    CRASH
    :: !cur[me] -> goto FENCED
    :: cur[me] && !OFFSOK && ts[TID]<2 -> goto FENCED
    :: cur[me] && OFFSOK && ts[TID]<2 -> ts[TID]=1; poff[TID]=off+1+(kind==0)
    fi }
}

proctype Inst(byte me; bool fin) {
  byte off, v, pos, tgt, x, n, rv, i; bool retried, asg; byte kind;
START:
  atomic {
    starts[me]++; asg=0;
#ifdef LOSECOMMIT
    if :: plc[D]<=lc[D] -> lv[D]=plv[D]; lc[D]=plc[D] :: true fi; /* system crash undid the last LMDB commit */
#endif
INIT:
    off=0; v=0; pos=0; tgt=0; retried=0; kind=0; cur[me]=0; giveup()
  }
#ifdef READFIRST
  atomic { off = coff; tgt = lso }; (1); restore();
#endif
  /* R3 fence: InitProducerId completes or aborts the previous transaction, then bumps the epoch */
  do
  :: atomic { MAYRUN && pf<PFMAX && !ini[TID] -> pf++; ini[TID]=1 }             /* a throwaway handle; its request may be late */
  :: atomic { MAYRUN && ts[TID]==0 -> bump(TID); last[TID]=0; cur[me]=1; break }
  :: atomic { MAYRUN && ts[TID]==1 -> bump(TID); decide(TID,0) }                /* CONCURRENT_TRANSACTIONS: again */
  :: !MAYRUN -> goto DIE                                                        /* not assigned: no (further) init */
  CRASH
  od;
#ifdef MODE2
ASSIGN:
  atomic {
    if
    CRASH
    :: !MAYRUN -> goto DIE
    :: MAYRUN && !asg -> own=me+1; asg=1                /* rebalance: this member owns the partition; metadata taken here */
    :: MAYRUN && asg
    fi };
#endif
#ifdef HWFIRST
  tgt = hw;
#endif
  /* R4: OffsetFetch with RequireStable */
#ifdef MODE2
#ifdef NOSTABLE
  off = coff;
#else
  do
  :: atomic { !UNSTABLE -> off = coff; break }
#ifndef NOTAKE
  :: atomic { UNSTABLE && CANTAKE -> ini[BLOCKER] = 1 } /* takeover: one InitProducerId for the id that blocks */
#endif
  :: LOST -> goto FENCED
  CRASH
  od;
#endif
#else
  off = coff;
#endif
#ifndef READFIRST
R5:
#ifdef LSOTARGET
  tgt = lso;
#else
#ifndef HWFIRST
  tgt = hw;                                             /* R5: read_uncommitted end offset */
#endif
#endif
  do                                                    /* R7: wait until LSO >= target, replay */
  :: atomic { lso>=tgt -> tgt=0; restore(); chklmdb(); CHECK; break }
#if defined(MODE2) && !defined(NOTAKE) && !defined(NOTAKE7)
  :: atomic { lso<tgt && CANTAKE -> ini[BLOCKER] = 1 }
#endif
  :: lso<tgt && LOST -> goto FENCED
  CRASH
  od;
#endif
#ifdef READFIRST
  CHECK;
#endif
#ifdef CLAIM
  kind = 1;                                             /* R10 */
#endif
LOOP:
  atomic {
    if
    :: kind==1
    :: kind!=1 && off<K -> kind=0
    :: kind!=1 && tick<TIMERS && !fin -> tick++; kind=2
    :: kind!=1 && off>=K -> goto DIE
#ifdef MODE2
    :: off<K && LOST && rb<RBMAX && MAYRUN -> rb++;     /* comes back without a restart */
#ifdef RESUME
       own=me+1; kind=0; goto BACK
#else
       asg=0; off=0; kind=0; goto ASSIGN
#endif
#endif
    fi;
    v = lv[D]+(kind!=1);
#ifdef LMDBFIRST
    KEEPOLD lv[D]=v;
#endif
#ifdef PRODAFTER  /* a client library may send TxnOffsetCommit while records still sit in its queue */
  };
  sendoffs();
  atomic { produce() };
#else
    produce()
  };
#ifdef STAMPLAST
  if CRASH :: lsp[pos] = 1 fi;
#endif
  sendoffs();
#endif
  atomic {
    if
    CRASH
    :: abn<ABMAX && !fin -> abn++; goto ABORT
    :: true
    fi;
COMMIT:
    endtxn(1)
  };
  if
  :: atomic { resp[me]==1 ->
COMMITTED:
       resp[me]=0;                                      /* Kafka committed, LMDB not yet: a crash here = one before the answer */
#ifndef LMDBFIRST
       KEEPOLD lv[D]=v;
#endif
       lc[D]=pos+1; v=0; pos=0; off=off+(kind==0); kind=0;
#if !defined(NOCHK) && !defined(LMDBFIRST)
       chklmdb()
#endif
     }
  :: atomic { resp[me]==2 -> goto FENCED }
  :: atomic { tmo<TMAX && !fin && resp[me]==0 -> tmo++; giveup(); retried=1; if :: goto COMMIT :: goto UNKNOWN fi }
  CRASH
  fi;
NEXT:
#ifndef NOREINIT
  if :: retried -> goto INIT :: else -> goto LOOP fi;   /* an old EndTxn copy may still be in flight: bump the epoch */
#else
  retried=0; goto LOOP;
#endif
ABORT:
  atomic { endtxn(0) };
  if
  :: atomic { resp[me]==1 -> resp[me]=0; v=0; pos=0;    /* mdb_txn_abort */
#ifdef NOSEEK
       off++;                                           /* forgot to rewind the consumer */
#endif
       goto NEXT }
  :: atomic { resp[me]==2 -> goto FENCED }
  :: atomic { tmo<TMAX && !fin && resp[me]==0 -> tmo++; giveup(); retried=1; if :: goto ABORT :: goto UNKNOWN fi }
  CRASH
  fi;
UNKNOWN:
#ifdef ASSUMEABORT
  v=0; goto LOOP;
#endif
#ifdef ASSUMECOMMIT
  goto COMMITTED;
#endif
  goto INIT;                                            /* drop the LMDB write txn, new producer, one recovery path */
#ifdef RESUME
BACK:                                                   /* step 11: a suspended task comes back, its store was kept */
  do
  :: atomic { !UNSTABLE ->
#ifndef RESUMEOFFS
       if :: coff==off && cmd==TID+1 -> goto LOOP :: else -> off=coff; goto R5 fi
#else
       if :: coff==off -> goto LOOP :: else -> off=coff; goto R5 fi
#endif
     }
  :: atomic { UNSTABLE && CANTAKE -> ini[BLOCKER] = 1 }
  :: LOST -> goto FENCED
  CRASH
  od;
#endif
FENCED:
#ifdef CLAIMSAFE
  atomic { if :: kind==1 && cur[me] && ts[TID]==1 -> bump(TID); decide(TID,0) :: else fi };
#endif
  if
  :: fin -> goto INIT
#ifdef MODE2
  :: !fin && !LOST -> goto INIT                         /* still assigned: recover, same membership */
#endif
  :: atomic { !fin && LOST && rb<RBMAX && MAYRUN -> asg=0; /* a rebalance gives the partition back */
#ifndef REJOIN
       rb++;                                            /* finitely often; REJOIN: each recovery causes a rebalance */
#endif
       goto INIT }
  :: !fin && LOST && starts[me]<STARTS -> goto START
  :: !fin && LOST -> goto DIE
  fi;
DIE:
  atomic { giveup(); cur[me]=0; ended[me]=1;
#ifdef DEADTMO
    dead[me]=1
#endif
  }
}

init {
  atomic { run Inst(0,0); run Inst(1,0);
#if N>2
    run Inst(2,0)
#endif
  };
  ended[0];
#ifdef SHARED
  ended[1];
#endif
#ifndef NOFINAL
  atomic { finalrun=1; ended[0]=0; starts[0]=0; run Inst(0,1) };  /* a last healthy run on instance 0's store, the others in any state */
  (ended[0]);
  (ts[0]==0);
  assert(doff==K && dout==K+dtim && lv[0]==dout)                /* I5: always recoverable; every input applied exactly once */
#endif
}
