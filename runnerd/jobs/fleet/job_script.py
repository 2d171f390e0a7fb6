"""Every change of the fleet's jobs in Redis, as one Lua script, which Redis runs as one step.

    rj:epoch          "number run_id": the jobs are whole as long as this Redis process has run_id
    rj:rebuilding     who reads the journal into this Redis
    rj:j:{id}         a hash: what was submitted, state, token, worker, order; ending: its end
    rj:j:{id}:a :r :o its attempts, responses, output
    rj:q:{model}      those that wait, by order; rj:models: models of which any wait
    rj:later          those that wait for a time; rj:leases, rj:deadlines, rj:ended: by time
    rj:all rj:p:{pid} rj:g:{group}   all, a principal's, a group's, by number
    rj:counts rj:open rj:bytes rj:last rj:v   numbers by state; by principal: open jobs, bytes, last
    rj:results rj:most_results   by principal: bytes of output and responses; the most of them
    rj:flights rj:flying              changes on their way to the journal, by the last mark, by time
    rj:ending         ends on their way to the journal, by when others take care of them
    rj:mark           where in the journal its last known mark is
    rj:offset         how much this host's clock is wrong
    rj:work rj:lost rj:n:{id}        channels: there is work, a claim was taken away, a job changed
    runnerd:prompt:{id}              prompts of ProtoLLM (`job_script_prompts`)

The order is start-time fair queueing: each principal's jobs are numbered in its own virtual time,
which for somebody who was away begins where the queue is now; a priority is a head start.

Commands with a `!` are for whoever holds rj:rebuilding.  A change that the journal has to know is
begun (it has a *flight*), appended there, and then carried out if its flight is still known.  So
all entries before the lowest mark of a flight, or the last mark, have been carried out here.
"""

from __future__ import annotations

from runnerd.jobs.fleet.job_script_ends import ENDS
from runnerd.jobs.fleet.job_script_prompts import PROMPTS

REBUILD = "REBUILD"
"""What the script fails with while the jobs are not whole."""
HEAD_START = 16  # turns for one step of priority
TOKENS = 10_000_000_000  # of one epoch

_SHARED = """
local command = ARGV[1]
local rebuilds = string.sub(command, -1) == '!'
local epoch = redis.call('GET', 'rj:epoch')
if rebuilds then
  if redis.call('GET', 'rj:rebuilding') ~= ARGV[3] then
    return redis.error_reply('REBUILD somebody else rebuilds the jobs')
  end
elseif not epoch then
  return redis.error_reply('REBUILD the jobs are not whole')
end
local number = epoch and string.match(epoch, '^%d+')
local time = redis.call('TIME')
local steady = tonumber(time[1]) + tonumber(time[2]) / 1e6
  + tonumber(redis.call('GET', 'rj:offset') or 0)
local now = steady + tonumber(ARGV[2])
local stamp = string.format('%.6f', now)
local function key(id) return 'rj:j:' .. id end
local function get(id, ...) return redis.call('HMGET', key(id), ...) end
local function take_away(name, field, by)
  if redis.call('HINCRBY', name, field, by) <= 0 then redis.call('HDEL', name, field) end
end
-- Output and responses of a job take so many bytes now; counts those of each principal.
local function weigh(id, size)
  local job = get(id, 'pid', 'held')
  take_away('rj:results', job[1], size - tonumber(job[2] or 0))
  redis.call('HSET', key(id), 'held', size)
end
local function results_of(pid) return tonumber(redis.call('HGET', 'rj:results', pid) or 0) end
local function count(pid, model, state, by)
  take_away('rj:counts', cjson.encode({pid, model, state}), by)
end
local function open(pid, by) take_away('rj:open', pid, by) end
local function tell(id) redis.call('PUBLISH', 'rj:n:' .. id, '') end
local function is_ended(state) return state ~= 'queued' and state ~= 'running' end
local function fly(flight)
  redis.call('ZADD', 'rj:flights', redis.call('GET', 'rj:mark') or -1, flight)
  redis.call('INCR', 'rj:begun')
end
local function depart(flight)
  fly(flight)
  redis.call('ZADD', 'rj:flying', now, flight)
end
local function land(flight)
  redis.call('ZREM', 'rj:flying', flight)
  return redis.call('ZREM', 'rj:flights', flight) == 1
end
local function next_token()
  local token, least = redis.call('INCR', 'rj:token'), tonumber(number) * TOKENS
  if token <= least then
    token = least + 1
    redis.call('SET', 'rj:token', string.format('%.0f', token))
  end
  return string.format('%.0f', token)
end
local function move(id, to)
  local was = get(id, 'pid', 'model', 'state')
  count(was[1], was[2], was[3], -1)
  count(was[1], was[2], to, 1)
  redis.call('HSET', key(id), 'state', to)
end
local function enqueue(id)
  local job = get(id, 'model', 'order', 'number')
  local queue = 'rj:q:' .. job[1]
  if redis.call('ZCARD', queue) == 0 then
    redis.call('SADD', 'rj:models', job[1])
    redis.call('PUBLISH', 'rj:work', '')
  end
  redis.call('ZADD', queue, job[2], job[3] .. id)
end
local function unqueue(id)
  local job = get(id, 'model', 'number')
  redis.call('ZREM', 'rj:q:' .. job[1], job[2] .. id)
  redis.call('ZREM', 'rj:later', id)
end
local function later(id, pause)
  if pause > 0 then redis.call('ZADD', 'rj:later', now + pause, id) else enqueue(id) end
end
local function promote()
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', 'rj:later', '-inf', now, 'LIMIT', 0, 1000)) do
    redis.call('ZREM', 'rj:later', id)
    enqueue(id)
  end
end
local function give_up(id)
  local job = get(id, 'state', 'token', 'ending')
  if job[1] == 'queued' then unqueue(id) end
  redis.call('ZREM', 'rj:leases', id)
  if job[1] == 'running' and not job[3] then
    redis.call('PUBLISH', 'rj:lost', id .. ' ' .. job[2])
    return job[2]
  end
  return ''
end
local commands = {}
"""

_SUBMISSION = """
-- flight, most open, most bytes, most bytes of results, then (id, principal, bytes) ...
function commands.check()
  local most, most_bytes, most_results = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
  redis.call('SET', 'rj:most_results', ARGV[6])
  local new, bytes, states = {}, {}, {}
  for i = 7, #ARGV, 3 do
    local id, principal = ARGV[i], ARGV[i + 1]
    local pid = get(id, 'pid')[1]
    if not pid then
      new[principal] = (new[principal] or 0) + 1
      bytes[principal] = (bytes[principal] or 0) + tonumber(ARGV[i + 2])
      states[#states + 1] = 'new'
    elseif pid == principal then states[#states + 1] = 'same'
    else return {'other', id} end
  end
  for pid, more in pairs(new) do
    if tonumber(redis.call('HGET', 'rj:open', pid) or 0) + more > most then return {'full'} end
    local held = tonumber(redis.call('HGET', 'rj:bytes', pid) or 0)
    if held + bytes[pid] > most_bytes then return {'large'} end
    if results_of(pid) >= most_results then return {'stuffed'} end
  end
  if next(new) then depart(ARGV[3]) end
  states[#states + 1] = stamp
  return states
end

function commands.whole() return number end

local function insert(i)
  local id, pid, model, priority = ARGV[i], ARGV[i + 1], ARGV[i + 2], tonumber(ARGV[i + 3])
  local deadline, group, created, doc = ARGV[i + 4], ARGV[i + 5], ARGV[i + 6], ARGV[i + 7]
  if redis.call('EXISTS', key(id)) == 1 then return end
  local v = math.max(tonumber(redis.call('GET', 'rj:v') or 0),
                     tonumber(redis.call('HGET', 'rj:last', pid) or 0)) + 1
  redis.call('HSET', 'rj:last', pid, v)
  local number = string.format('%016d', redis.call('INCR', 'rj:number'))
  redis.call('HSET', key(id), 'pid', pid, 'model', model, 'group', group, 'state', 'queued',
    'created', created, 'doc', doc,
    'v', v, 'order', v - HEAD_START * priority, 'number', number, 'deadline', deadline)
  redis.call('ZADD', 'rj:all', number, id)
  redis.call('ZADD', 'rj:p:' .. pid, number, id)
  if group ~= '' then redis.call('ZADD', 'rj:g:' .. group, number, id) end
  if deadline ~= '' then redis.call('ZADD', 'rj:deadlines', deadline, id) end
  redis.call('HINCRBY', 'rj:bytes', pid, #doc)
  count(pid, model, 'queued', 1)
  open(pid, 1)
  enqueue(id)
end

-- flight, (id, principal, model, priority, deadline, group, created, doc) ...
function commands.insert()
  if not land(ARGV[3]) then return 0 end
  for i = 4, #ARGV, 8 do insert(i) end
  return 1
end

commands['insert!'] = function()
  for i = 4, #ARGV, 8 do insert(i) end
end

local function again(id, undoes)
  local job = get(id, 'state', 'pid', 'token')
  if not job[1] or not is_ended(job[1]) or job[1] == 'completed' or job[3] ~= undoes then return end
  redis.call('DEL', key(id) .. ':a', key(id) .. ':r', key(id) .. ':o')
  weigh(id, 0)
  redis.call('HDEL', key(id), 'ended', 'started', 'deadline', 'worker', 'given_back')
  redis.call('HSET', key(id), 'reason', '')
  redis.call('ZREM', 'rj:ended', id)
  move(id, 'queued')
  open(job[2], 1)
  enqueue(id)
  tell(id)
end

function commands.again()  -- flight, id: the token of the end that is to be undone, or ''
  local job = get(ARGV[4], 'state', 'token')
  if not job[1] or not is_ended(job[1]) or job[1] == 'completed' then return '' end
  depart(ARGV[3])
  return job[2]
end

function commands.undo()  -- flight, id, token
  if not land(ARGV[3]) then return 0 end
  again(ARGV[4], ARGV[5])
  return 1
end

commands['undo!'] = function() again(ARGV[4], ARGV[5]) end

local function delete(id, created)
  local job = get(id, 'pid', 'model', 'state', 'group', 'created')
  if not job[1] or job[5] ~= created then return '' end
  local token = give_up(id)
  if not is_ended(job[3]) then open(job[1], -1) end
  count(job[1], job[2], job[3], -1)
  take_away('rj:bytes', job[1], -redis.call('HSTRLEN', key(id), 'doc'))
  for _, index in ipairs({'all', 'ended', 'deadlines', 'later', 'ending',
                          'p:' .. job[1], 'g:' .. job[4]}) do
    redis.call('ZREM', 'rj:' .. index, id)
  end
  land('end:' .. id)
  weigh(id, 0)
  redis.call('DEL', key(id), key(id) .. ':a', key(id) .. ':r', key(id) .. ':o')
  tell(id)
  return token
end

function commands.deleting()  -- flight, ids ...: (id, created) of those that there are
  local found = {}
  for i = 4, #ARGV do
    local created = get(ARGV[i], 'created')[1]
    if created then
      found[#found + 1] = ARGV[i]
      found[#found + 1] = created
    end
  end
  if #found > 0 then depart(ARGV[3]) end
  return found
end

function commands.delete()  -- flight, (id, created) ...: the tokens that count no more
  if not land(ARGV[3]) then return 0 end
  local tokens = {}
  for i = 4, #ARGV, 2 do tokens[#tokens + 1] = delete(ARGV[i], ARGV[i + 1]) end
  return tokens
end

commands['delete!'] = function()
  for i = 4, #ARGV, 2 do delete(ARGV[i], ARGV[i + 1]) end
end
"""

_LAST = """
local wanted = commands[command]
if not wanted then return redis.error_reply('there is no command ' .. command) end
return wanted()
"""

SCRIPT = (
    (_SHARED + _SUBMISSION + ENDS + PROMPTS + _LAST)
    .replace("HEAD_START", str(HEAD_START))
    .replace("TOKENS", str(TOKENS))
)
