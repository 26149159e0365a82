# frozen_string_literal: true

# Delayed::Job on ActiveRecord without Rails around it: schema, enqueuing and worker are its own.
#
#     ruby delayed_job.rb create | enqueue SECONDS... | work [MAX_RUN_TIME]
#
# The database is the one of libpq's environment variables. Ids are printed, one a line.

require "erb"
require "socket"
require "delayed_job_active_record"

# The job: it sleeps, and notes its end.
class Nap < Struct.new(:seconds)
  def before(job)
    @id = job.id
  end

  def perform
    sleep(seconds)
    row = ActiveRecord::Base.sanitize_sql(["(?, ?)", @id.to_s, Process.pid])
    ActiveRecord::Base.connection.execute("INSERT INTO conformance_done (id, pid) VALUES #{row}")
  end
end

# The migration that its generator would write.
def migration
  folder = Gem::Specification.find_by_name("delayed_job_active_record").gem_dir
  template = File.read("#{folder}/lib/generators/delayed_job/templates/migration.rb")
  migration_version = "[#{ActiveRecord::Migration.current_version}]"
  eval(ERB.new(template).result(binding))
  CreateDelayedJobs
end

ActiveRecord::Base.establish_connection(adapter: "postgresql", database: ENV.fetch("PGDATABASE"))
ActiveRecord::Migration.verbose = false
command, *given = ARGV

case command
when "create"
  migration.migrate(:up)
when "enqueue"
  given.each { |seconds| puts Delayed::Job.enqueue(Nap.new(seconds.to_f)).id }
when "work"
  Delayed::Worker.max_run_time = given.first.to_i.seconds if given.any?
  Delayed::Worker.sleep_delay = 0.2
  Delayed::Worker.new.start
end
