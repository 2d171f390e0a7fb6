"""Every change of the fleet's jobs in Redis, as one Lua script, which Redis runs as one step.

    rj:epoch          is there as long as the rest is whole; without it the journal is read anew
    rj:j:{id}         a hash: what was submitted, state, token, worker, order
    rj:j:{id}:a :r :o its attempts, responses, output
    rj:q:{model}      those that wait, by order; rj:models: models of which any wait
    rj:later          those that wait for a time; rj:leases, rj:deadlines, rj:ended: by time
    rj:all rj:p:{pid} rj:g:{group}   all, a principal's, a group's, by number
    rj:counts rj:open rj:last rj:v   numbers by state; open jobs, last order by principal; now
    rj:work rj:lost rj:n:{id}        channels: there is work, a claim was taken away, a job changed

The order is start-time fair queueing: each principal's jobs are numbered in its own virtual time,
which for somebody who was away begins where the queue is now; a priority is a head start.
"""

from __future__ import annotations

REBUILD = "REBUILD"
"""What the script fails with while the epoch is missing."""
HEAD_START = 16  # turns for one step of priority

_SHARED = """
local command = ARGV[1]
if string.sub(command, -1) ~= '!' and redis.call('EXISTS', 'rj:epoch') == 0 then
  return redis.error_reply('REBUILD the jobs are not whole')
end
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1e6 + tonumber(ARGV[2])
local stamp = string.format('%.6f', now)
local function key(id) return 'rj:j:' .. id end
local function get(id, ...) return redis.call('HMGET', key(id), ...) end
local function count(pid, model, state, by)
  local field = cjson.encode({pid, model, state})
  if redis.call('HINCRBY', 'rj:counts', field, by) <= 0 then
    redis.call('HDEL', 'rj:counts', field)
  end
end
local function open(pid, by)
  if redis.call('HINCRBY', 'rj:open', pid, by) <= 0 then redis.call('HDEL', 'rj:open', pid) end
end
local function tell(id) redis.call('PUBLISH', 'rj:n:' .. id, '') end
local function is_ended(state) return state ~= 'queued' and state ~= 'running' end
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
local function finish(id, state, reason)
  move(id, state)
  redis.call('HSET', key(id), 'ended', stamp, 'reason', reason)
  redis.call('ZADD', 'rj:ended', stamp, id)
  redis.call('ZREM', 'rj:deadlines', id)
  redis.call('ZREM', 'rj:leases', id)
  open(get(id, 'pid')[1], -1)
  tell(id)
end
local function holds(id, token)
  local job = get(id, 'state', 'token')
  return job[1] == 'running' and job[2] == token
end
local function add(id, from)
  if ARGV[from] ~= '' then redis.call('APPEND', key(id) .. ':o', ARGV[from]) end
  for i = from + 1, #ARGV do redis.call('RPUSH', key(id) .. ':r', ARGV[i]) end
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
  local job = get(id, 'state', 'token')
  if job[1] == 'queued' then unqueue(id) end
  redis.call('ZREM', 'rj:leases', id)
  if job[1] == 'running' then
    redis.call('PUBLISH', 'rj:lost', id .. ' ' .. job[2])
    return job[2]
  end
  return ''
end
"""

_SUBMISSION = """
local commands = {}

function commands.check()  -- most open, then (id, principal) ...
  local most, new, states = tonumber(ARGV[3]), {}, {}
  for i = 4, #ARGV, 2 do
    local pid = get(ARGV[i], 'pid')[1]
    if not pid then
      new[ARGV[i + 1]] = (new[ARGV[i + 1]] or 0) + 1
      states[#states + 1] = 'new'
    elseif pid == ARGV[i + 1] then states[#states + 1] = 'same'
    else return {'other', ARGV[i]} end
  end
  for pid, number in pairs(new) do
    if tonumber(redis.call('HGET', 'rj:open', pid) or 0) + number > most then return {'full'} end
  end
  states[#states + 1] = stamp
  return states
end

function commands.whole() return 1 end

function commands.insert()  -- (id, principal, model, priority, deadline, group, created, doc) ...
  for i = 3, #ARGV, 8 do
    local id, pid, model, priority = ARGV[i], ARGV[i + 1], ARGV[i + 2], tonumber(ARGV[i + 3])
    local deadline, group, created = ARGV[i + 4], ARGV[i + 5], ARGV[i + 6]
    if redis.call('EXISTS', key(id)) == 0 then
      local v = math.max(tonumber(redis.call('GET', 'rj:v') or 0),
                         tonumber(redis.call('HGET', 'rj:last', pid) or 0)) + 1
      redis.call('HSET', 'rj:last', pid, v)
      local number = string.format('%016d', redis.call('INCR', 'rj:number'))
      redis.call('HSET', key(id), 'pid', pid, 'model', model, 'group', group, 'state', 'queued',
        'created', created, 'doc', ARGV[i + 7],
        'v', v, 'order', v - HEAD_START * priority, 'number', number, 'deadline', deadline)
      redis.call('ZADD', 'rj:all', number, id)
      redis.call('ZADD', 'rj:p:' .. pid, number, id)
      if group ~= '' then redis.call('ZADD', 'rj:g:' .. group, number, id) end
      if deadline ~= '' then redis.call('ZADD', 'rj:deadlines', deadline, id) end
      count(pid, model, 'queued', 1)
      open(pid, 1)
      enqueue(id)
    end
  end
  return 1
end
commands['insert!'] = commands.insert

function commands.cancel()  -- id, state
  local state = get(ARGV[3], 'state')[1]
  if not state then return {0, ''} end
  if is_ended(state) then return {1, ''} end
  local token = give_up(ARGV[3])
  finish(ARGV[3], ARGV[4], ARGV[4] == 'expired' and 'its deadline has passed' or '')
  return {2, token}
end

function commands.again()  -- id
  local id, job = ARGV[3], get(ARGV[3], 'state', 'pid')
  if not job[1] then return -1 end
  if not is_ended(job[1]) or job[1] == 'completed' then return 0 end
  redis.call('DEL', key(id) .. ':a', key(id) .. ':r', key(id) .. ':o')
  redis.call('HDEL', key(id), 'ended', 'started', 'deadline')
  redis.call('HSET', key(id), 'reason', '')
  redis.call('ZREM', 'rj:ended', id)
  move(id, 'queued')
  open(job[2], 1)
  enqueue(id)
  tell(id)
  return 1
end

commands['again!'] = commands.again

function commands.delete()  -- id
  local id, job = ARGV[3], get(ARGV[3], 'pid', 'model', 'state', 'group')
  if not job[1] then return {0, ''} end
  local token = give_up(id)
  if not is_ended(job[3]) then open(job[1], -1) end
  count(job[1], job[2], job[3], -1)
  for _, index in ipairs({'all', 'ended', 'deadlines', 'later', 'p:' .. job[1], 'g:' .. job[4]}) do
    redis.call('ZREM', 'rj:' .. index, id)
  end
  redis.call('DEL', key(id), key(id) .. ':a', key(id) .. ':r', key(id) .. ':o')
  tell(id)
  return {1, token}
end
commands['delete!'] = commands.delete

-- id, state, ended, reason, started, output, number of attempts, attempts, responses
commands['restore!'] = function()
  local id, job = ARGV[3], get(ARGV[3], 'state')
  if not job[1] or is_ended(job[1]) then return 0 end
  unqueue(id)
  finish(id, ARGV[4], ARGV[6])
  redis.call('HSET', key(id), 'ended', ARGV[5])
  redis.call('ZADD', 'rj:ended', ARGV[5], id)
  if ARGV[7] ~= '' then redis.call('HSET', key(id), 'started', ARGV[7]) end
  if ARGV[8] ~= '' then redis.call('SET', key(id) .. ':o', ARGV[8]) end
  local attempts = tonumber(ARGV[9])
  for i = 10, #ARGV do
    redis.call('RPUSH', key(id) .. (i < 10 + attempts and ':a' or ':r'), ARGV[i])
  end
  return 1
end
"""

_WORK = """
function commands.claim()  -- worker, seconds, limit, least token, 'all' or models ...
  promote()
  local models, claims = {}, {}
  for i = 8, #ARGV do models[#models + 1] = ARGV[i] end
  if ARGV[7] == 'all' then models = redis.call('SMEMBERS', 'rj:models') end
  while #claims < 2 * tonumber(ARGV[5]) do
    local member, order, queue, from
    for _, model in ipairs(models) do
      local head = redis.call('ZRANGE', 'rj:q:' .. model, 0, 0, 'WITHSCORES')
      if #head == 0 then redis.call('SREM', 'rj:models', model)
      else
        local here = tonumber(head[2])
        if not member or here < order or (here == order and head[1] < member) then
          member, order, queue = head[1], here, 'rj:q:' .. model
        end
      end
    end
    if not member then break end
    redis.call('ZREM', queue, member)
    local id = string.sub(member, 17)
    local job = get(id, 'deadline', 'v')
    if not job[1] or job[1] == '' or tonumber(job[1]) > now then
      local token = redis.call('INCR', 'rj:token')
      if token < tonumber(ARGV[6]) then
        token = tonumber(ARGV[6])
        redis.call('SET', 'rj:token', string.format('%.0f', token))
      end
      if tonumber(job[2]) > tonumber(redis.call('GET', 'rj:v') or 0) then
        redis.call('SET', 'rj:v', job[2])
      end
      token = string.format('%.0f', token)
      move(id, 'running')
      redis.call('HSET', key(id), 'token', token, 'worker', ARGV[3], 'started', stamp)
      redis.call('DEL', key(id) .. ':o')
      redis.call('ZADD', 'rj:leases', now + tonumber(ARGV[4]), id)
      tell(id)
      claims[#claims + 1] = id
      claims[#claims + 1] = token
    end
  end
  return claims
end

function commands.extend()  -- id, token, seconds
  if not holds(ARGV[3], ARGV[4]) then return 0 end
  redis.call('ZADD', 'rj:leases', now + tonumber(ARGV[5]), ARGV[3])
  return 1
end

function commands.append()  -- id, token, output, responses ...
  if not holds(ARGV[3], ARGV[4]) then return 0 end
  add(ARGV[3], 5)
  tell(ARGV[3])
  return 1
end

function commands.complete()  -- id, token, output, responses ...
  if not holds(ARGV[3], ARGV[4]) then return 0 end
  add(ARGV[3], 5)
  finish(ARGV[3], 'completed', '')
  return 1
end

function commands.fail()  -- id, token, pause or '', end, reason
  local id, pause = ARGV[3], ARGV[5]
  if not holds(id, ARGV[4]) then return 0 end
  local job = get(id, 'worker', 'started')
  redis.call('RPUSH', key(id) .. ':a',
    cjson.encode({job[1], tonumber(job[2]), now, ARGV[6], ARGV[7]}))
  redis.call('ZREM', 'rj:leases', id)
  if ARGV[6] == 'lost' then redis.call('PUBLISH', 'rj:lost', id .. ' ' .. ARGV[4]) end
  if pause == '' then finish(id, 'failed', ARGV[7])
  else
    move(id, 'queued')
    later(id, tonumber(pause))
    tell(id)
  end
  return 1
end

function commands.release()  -- id, token, pause
  if not holds(ARGV[3], ARGV[4]) then return 0 end
  redis.call('ZREM', 'rj:leases', ARGV[3])
  move(ARGV[3], 'queued')
  later(ARGV[3], tonumber(ARGV[5]))
  tell(ARGV[3])
  return 1
end

function commands.look()  -- seconds that results are kept
  promote()
  local lost = {}
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', 'rj:leases', '-inf', now, 'LIMIT', 0, 500)) do
    lost[#lost + 1] = id
    lost[#lost + 1] = get(id, 'token')[1]
  end
  local old = now - tonumber(ARGV[3])
  return {lost, redis.call('ZRANGEBYSCORE', 'rj:deadlines', '-inf', now, 'LIMIT', 0, 500),
    redis.call('ZRANGEBYSCORE', 'rj:ended', '-inf', old, 'LIMIT', 0, 500)}
end

local wanted = commands[command]
if not wanted then return redis.error_reply('there is no command ' .. command) end
return wanted()
"""

SCRIPT = (_SHARED + _SUBMISSION + _WORK).replace("HEAD_START", str(HEAD_START))
