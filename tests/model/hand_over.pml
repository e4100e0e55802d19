/* The hand-over between the loop and its workers: who sleeps, who is told, and what is counted on the way.
 *
 * src/pool/task_queue.cc, completion_queue.cc, worker.cc, thread_pool.cc (inspect) and server/pool_watch.cc, step by step:
 * what the code does under one mutex is one atomic step here, and between two of them anything may happen. Comments name
 * the function. The order in which the idle are woken, what an estimate says, when a timer fires and how large a batch is,
 * are left to chance; the code does one of what may happen here.
 *
 * Tasks come in runs in the code. Here a task is a run of one: a worker has the tasks of a run in hand as it has the runs of a
 * batch, one RUNNING and the others UNBEGUN or ENDED, and the loop takes them back in the same step (set_running_apart).
 *
 * spin looks at all there is and must find no invalid end state (somebody waits for what nobody will tell: a
 * wake-up was lost) and no assertion that does not hold (a task run or answered twice, or lost). Three settings:
 *
 *   LONG     task 0 ends only when no more requests come, so that who waits for room has to hear of it. No look of the
 *            loop after its workers: nothing is mended by a timer
 *   NUDGE    nor here; all tasks are short, and a worker is nudged, asleep or not, and then busy until the end
 *   INSPECT  with these looks: task 0 ends only when all others have been answered, and a worker is retired
 *
 * MUTATION is a number: one thing is left out, which must be found. tests/model/run does all of this.
 */

#ifndef MUTATION
#define MUTATION 0
#endif
#ifndef TASKS
#define TASKS 3
#endif
#define WORKERS 3
#ifdef INSPECT
#define ROOM 2
#else
#define ROOM 1
#endif
#define NOBODY 255

/* Where a task is. */
#define FRESH 0    /* with its client */
#define QUEUED 1
#define POPPED 2   /* Worker::popped_ */
#define UNBEGUN 3  /* Worker::unbegun_, as are the next two visible to the loop */
#define RUNNING 4  /* or about to post */
#define ENDED 5
#define OUTBOX 6   /* Worker::outbox_ */
#define POSTED 7
#define IN_HAND 8  /* taken back by the loop */
#define ANSWERED 9

byte place[TASKS];
byte holder[TASKS];
bool has_run[TASKS];

/* TaskQueue */
byte depth = 0;
byte on_the_way = 0;
byte last_popper = NOBODY;
bool closed = false;
bool loop_waits_for_room = false;
bool asleep[WORKERS];  /* in the list of the idle */
bool woken[WORKERS];
bool retired[WORKERS];
bool nudged[WORKERS];

/* CompletionQueue */
bool loop_sleeps = true;
bool loop_woken = false;
bool event = false;

byte fresh = TASKS;
byte outstanding = 0;
byte answered = 0;
bool is_over[WORKERS];

#if defined(INSPECT)
#define MAY_END(task) (task != 0 || answered == TASKS - 1)
#elif defined(LONG)
#define MAY_END(task) (task != 0 || fresh == 0)
#else
#define MAY_END(task) (true)
#endif
/* Who has such a task is not taken to be back soon; with INSPECT that may be wrong, as an estimate is. */
#if defined(INSPECT)
#define IS_LONG_GONE(worker) (place[0] == RUNNING && holder[0] == worker)
#elif defined(LONG)
#define IS_LONG_GONE(worker) (place[0] >= POPPED && place[0] <= RUNNING && holder[0] == worker)
#else
#define IS_LONG_GONE(worker) (false)
#endif

/* TaskQueue::wake */
inline wake(worker) {
  asleep[worker] = false;
  if
  :: MUTATION == 1 -> skip
  :: else -> woken[worker] = true
  fi;
  on_the_way++
}

/* TaskQueue::wake_up_to; uses `wanted` up. */
inline wake_up_to(wanted) {
  do
  :: wanted == 0 -> break
  :: wanted > 0 && asleep[0] -> wake(0); wanted--
  :: wanted > 0 && asleep[1] -> wake(1); wanted--
  :: wanted > 0 && asleep[2] -> wake(2); wanted--
  :: wanted > 0 && !asleep[0] && !asleep[1] && !asleep[2] -> wanted = 0
  od
}

inline forget_last_popper(worker) {
  if
  :: last_popper == worker && MUTATION != 2 -> last_popper = NOBODY
  :: else -> skip
  fi
}

/* CompletionQueue::wake_loop and the second half of post */
inline tell_loop(tells) {
  tells = loop_sleeps;
  loop_sleeps = false
}

proctype Worker(byte me) {
  byte count, wanted, task, running;
  bool room, tells;

again:
  /* TaskQueue::pop */
  atomic {
    do
    :: depth == 0 && !closed && !retired[me] && !nudged[me] ->
       woken[me] = false;
       forget_last_popper(me);
       asleep[me] = true;
       woken[me];  /* the condition variable: others go on */
       if
       :: MUTATION == 3 -> skip
       :: else -> on_the_way--
       fi
    :: else -> break
    od;
    if
    :: retired[me] ->
       forget_last_popper(me);
       goto end
    :: !retired[me] && nudged[me] ->
       nudged[me] = false;
       forget_last_popper(me);
       wanted = (depth > 0 && MUTATION != 4 -> 1 : 0);
       wake_up_to(wanted);
       goto busy
    :: else -> skip
    fi;
    last_popper = me;
    count = 0;
    select(wanted : 1 .. 2);
    task = 0;
    do
    :: task == TASKS || count == wanted -> break
    :: task < TASKS && count < wanted ->
       if
       :: place[task] == QUEUED ->
          place[task] = POPPED;
          holder[task] = me;
          depth--;
          count++
       :: else -> skip
       fi;
       task++
    od;
    room = loop_waits_for_room && MUTATION != 5;
    loop_waits_for_room = false;
    task = 0;
    wanted = 0;
    if
    :: room -> skip
    :: !room && count == 0 -> goto end
    :: else -> goto begin
    fi
  }
  atomic { loop_woken = true; room = false; tell_loop(tells) }
  atomic {
    if
    :: tells -> event = true
    :: else -> skip
    fi;
    tells = false;
    if
    :: count == 0 -> goto end
    :: else -> skip
    fi
  }

  goto begin;

busy:
  /* Worker::prepare: a child that has to be started, which takes as long as it likes */
  answered == TASKS;
  goto again;

begin:
  /* Worker::begin_batch */
  atomic {
    running = NOBODY;
    task = 0;
    do
    :: task == TASKS -> break
    :: task < TASKS ->
       if
       :: place[task] == POPPED && holder[task] == me ->
          place[task] = UNBEGUN;
          if
          :: running == NOBODY -> running = task
          :: else -> skip
          fi
       :: else -> skip
       fi;
       task++
    od;
    place[running] = RUNNING;
    task = 0;
    count = 0
  }
  do
  :: /* Worker::begin_next */
     atomic {
       MAY_END(running);
       assert(!has_run[running]);
       has_run[running] = true;
       place[running] = ENDED;
       running = NOBODY;
       task = 0;
       do
       :: task == TASKS -> break
       :: task < TASKS && place[task] == UNBEGUN && holder[task] == me ->
          running = task;
          place[task] = RUNNING;
          break
       :: else -> task++
       od;
       task = 0;
       do
       :: running != NOBODY || task == TASKS -> break
       :: else ->
          if
          :: place[task] == ENDED && holder[task] == me -> place[task] = OUTBOX
          :: else -> skip
          fi;
          task++
       od;
       task = 0;
       if
       :: running == NOBODY -> break
       :: else -> skip
       fi
     }
  od;

  /* CompletionQueue::post */
  atomic {
    task = 0;
    do
    :: task == TASKS -> break
    :: else ->
       if
       :: place[task] == OUTBOX && holder[task] == me -> place[task] = POSTED
       :: else -> skip
       fi;
       task++
    od;
    task = 0;
    room = false;
    tell_loop(tells)
  }
  atomic {
    if
    :: tells && MUTATION != 6 -> event = true
    :: else -> skip
    fi;
    tells = false;
    goto again
  }

end:
  is_over[me] = true
}

inline answer(task) {
  assert(place[task] != ANSWERED && has_run[task]);
  place[task] = ANSWERED;
  answered++;
  outstanding--
}

active proctype Loop() {
  byte task, worker, wanted, at_hand, busy;
  bool anything, waits_for_room, armed;
#ifdef INSPECT
  bool may_retire = true;
#endif
#ifdef NUDGE
  bool may_nudge = true;
#endif

  run Worker(0);
  run Worker(1);
  run Worker(2);

  do
  :: answered == TASKS -> break
  :: else ->
     /* Admission::submit, TaskQueue::push_all: as many as have come, and fit. Who waits for room comes each round.
        tell_when_room, where there is none. */
     atomic {
       if
       :: fresh > 0 && depth < ROOM ->
          waits_for_room = false;
          do
          :: fresh > 0 && depth < ROOM ->
             place[TASKS - fresh] = QUEUED;
             fresh--;
             depth++;
             outstanding++;
             if
             :: true -> skip
             :: true -> break  /* the next one comes later */
             fi
          :: else -> break
          od;
          at_hand = on_the_way;
          if
          :: last_popper != NOBODY && !IS_LONG_GONE(last_popper) -> at_hand++
          :: true -> skip  /* it popped too long ago */
          fi;
          select(wanted : 1 .. WORKERS);
          wanted = (wanted > at_hand && MUTATION != 7 -> wanted - at_hand : 0);
          wake_up_to(wanted);
          at_hand = 0;
          armed = true
       :: fresh > 0 && depth >= ROOM ->
          loop_waits_for_room = true;
          waits_for_room = true
       :: !waits_for_room -> skip  /* nobody has come */
       fi
     };

#ifdef NUDGE
     /* An order of another kind: a child that has ended is replaced by its worker. */
     atomic {
       if
       :: may_nudge ->
          may_nudge = false;
          select(worker : 0 .. WORKERS - 1);
          nudged[worker] = true;
          if
          :: asleep[worker] -> wake(worker)
          :: else -> skip
          fi;
          worker = 0
       :: true -> skip
       fi
     };
#endif

#ifdef INSPECT
     /* TaskQueue::retire_one */
     atomic {
       if
       :: may_retire && asleep[0] -> worker = 0
       :: may_retire && asleep[1] -> worker = 1
       :: may_retire && asleep[2] -> worker = 2
       :: true -> worker = NOBODY
       fi;
       if
       :: worker != NOBODY ->
          may_retire = false;
          retired[worker] = true;
          if
          :: MUTATION == 8 -> asleep[worker] = false
          :: else -> wake(worker)
          fi
       :: else -> skip
       fi;
       worker = 0
     };

     /* ThreadPool::inspect */
     if
     :: armed ->
        worker = 0;
        do
        :: worker == WORKERS -> break
        :: else ->
           /* Worker::take_back_if_begun_by: only if it runs one */
           atomic {
             busy = NOBODY;
             task = 0;
             do
             :: task == TASKS -> break
             :: else ->
                if
                :: place[task] == RUNNING && holder[task] == worker -> busy = task
                :: else -> skip
                fi;
                task++
             od;
             task = 0;
             do
             :: busy == NOBODY || task == TASKS -> break
             :: else ->
                if
                :: place[task] == ENDED && holder[task] == worker && MUTATION != 9 -> answer(task)
                :: place[task] == UNBEGUN && holder[task] == worker -> place[task] = IN_HAND
                :: place[task] == RUNNING && holder[task] == worker && MUTATION == 10 -> place[task] = IN_HAND
                :: else -> skip
                fi;
                task++
             od;
             /* Nothing waits for a task that runs on. */
             task = 0;
             do
             :: busy == NOBODY || task == TASKS -> break
             :: else ->
                assert(holder[task] != worker || (place[task] != ENDED && place[task] != UNBEGUN));
                task++
             od;
             task = 0;
             busy = 0
           };
           worker++
        od;
        /* TaskQueue::give_back */
        atomic {
          task = 0;
          do
          :: task == TASKS -> break
          :: else ->
             if
             :: place[task] == IN_HAND -> place[task] = QUEUED; depth++
             :: else -> skip
             fi;
             task++
          od;
          /* and TaskQueue::wake_for_waiting, which the loop comes to next */
          wanted = depth;
          if
          :: MUTATION == 11 -> wanted = 0
          :: else -> skip
          fi;
          wake_up_to(wanted);
          /* Nobody sleeps over a task that waits. */
          assert(depth <= on_the_way || (!asleep[0] && !asleep[1] && !asleep[2]));
          task = 0
        };
        /* Whether there is something in transit yet. */
        atomic {
          worker = 0;
          busy = 0;
          task = 0;
          do
          :: task == TASKS -> break
          :: else ->
             if
             :: place[task] == RUNNING -> busy++
             :: else -> skip
             fi;
             task++
          od;
          armed = !(outstanding == depth + busy && (depth == 0 || busy == WORKERS));
          if
          :: MUTATION == 12 -> armed = false
          :: else -> skip
          fi
        }
     :: true -> skip
     fi;
#endif

     /* CompletionQueue::take_or_sleep */
     if
     :: MUTATION == 13 ->  /* whether there is something, is decided a moment before it sleeps */
        atomic {
          anything = loop_woken;
          task = 0;
          do
          :: task == TASKS -> break
          :: else ->
             if
             :: place[task] == POSTED -> anything = true
             :: else -> skip
             fi;
             task++
          od
        };
        atomic { loop_sleeps = !anything }
     :: else -> skip
     fi;
     atomic {
       if
       :: MUTATION == 13 -> skip
       :: else -> anything = loop_woken
       fi;
       loop_woken = false;
       task = 0;
       do
       :: task == TASKS -> break
       :: else ->
          if
          :: place[task] == POSTED && (MUTATION != 13 || anything) -> answer(task); anything = true
          :: else -> skip
          fi;
          task++
       od;
       if
       :: MUTATION == 13 -> skip
       :: else -> loop_sleeps = !anything
       fi;
       task = 0;
       worker = 0;
       busy = 0
     };
     /* epoll_wait */
     if
     :: atomic { anything || answered == TASKS -> armed = true }
     :: atomic { event -> event = false }
     :: !anything && fresh > 0 && !waits_for_room  /* another request comes */
#ifdef INSPECT
     :: !anything && armed  /* the timer */
#endif
     fi
  od;

  /* TaskQueue::close, and the workers are joined. */
  atomic {
    closed = true;
    wanted = WORKERS;
    if
    :: MUTATION == 14 -> wanted = 0
    :: else -> skip
    fi;
    wake_up_to(wanted)
  };
  is_over[0] && is_over[1] && is_over[2];
  assert(depth == 0 && outstanding == 0 && on_the_way == 0)
}
