<?php

/**
 * Laravel's database queue without the framework around it: schema, enqueuing and worker are its own.
 *
 *     php laravel.php create | enqueue SECONDS... | work [RETRY_AFTER [TRIES]]
 *
 * The database is the one of libpq's environment variables. Ids are printed, one a line.
 */

require 'Illuminate/Queue/autoload.php';
require 'Illuminate/Events/autoload.php';
require 'Illuminate/Bus/autoload.php';

use Illuminate\Bus\Dispatcher as Bus;
use Illuminate\Contracts\Bus\Dispatcher as BusContract;
use Illuminate\Contracts\Container\Container as ContainerContract;
use Illuminate\Contracts\Debug\ExceptionHandler;
use Illuminate\Contracts\Events\Dispatcher as EventsContract;
use Illuminate\Contracts\Queue\ShouldQueue;
use Illuminate\Database\Capsule\Manager as Database;
use Illuminate\Events\Dispatcher as Events;
use Illuminate\Queue\Capsule\Manager as Queue;
use Illuminate\Queue\InteractsWithQueue;
use Illuminate\Queue\Worker;
use Illuminate\Queue\WorkerOptions;
use Illuminate\Support\Facades\Facade;

class Nap implements ShouldQueue
{
    use InteractsWithQueue;

    public function __construct(public float $seconds)
    {
    }

    public function handle(): void
    {
        usleep((int) ($this->seconds * 1e6));
        Database::table('conformance_done')->insert(['id' => $this->job->getJobId(), 'pid' => getmypid()]);
    }
}

/** Errors belong on the standard error, not into an application's log. */
class Told implements ExceptionHandler
{
    public function report(Throwable $e)
    {
        fwrite(STDERR, get_class($e) . ': ' . $e->getMessage() . "\n");
    }

    public function shouldReport(Throwable $e)
    {
        return true;
    }

    public function render($request, Throwable $e)
    {
        throw $e;
    }

    public function renderForConsole($output, Throwable $e)
    {
        throw $e;
    }
}

[, $command] = $argv;
$given = array_slice($argv, 2);

$database = new Database();
$container = $database->getContainer();
$database->addConnection([
    'driver' => 'pgsql',
    'host' => getenv('PGHOST'),
    'port' => getenv('PGPORT'),
    'database' => getenv('PGDATABASE'),
    'username' => getenv('PGUSER'),
    'password' => getenv('PGPASSWORD') ?: null,
    'charset' => 'utf8',
]);
$database->setAsGlobal();
$container->instance(ContainerContract::class, $container);
$container->instance('db', $database->getDatabaseManager());
$container->bind('db.schema', fn () => Database::schema());
$container->instance(EventsContract::class, new Events($container));
$container->instance(BusContract::class, new Bus($container));
$container->alias(EventsContract::class, 'events');
Facade::setFacadeApplication($container);

$queue = new Queue($container);
$queue->addConnection([
    'driver' => 'database',
    'table' => 'jobs',
    'queue' => 'default',
    'retry_after' => (int) ($command === 'work' ? $given[0] ?? 90 : 90),
]);

switch ($command) {
    case 'create':
        $folder = dirname((new ReflectionClass(Illuminate\Queue\Console\TableCommand::class))->getFileName());
        $migration = strtr(
            file_get_contents("$folder/stubs/jobs.stub"),
            ['{{tableClassName}}' => 'Jobs', '{{table}}' => 'jobs', '<?php' => '']
        );
        eval($migration);
        (new CreateJobsTable())->up();
        break;
    case 'enqueue':
        foreach ($given as $seconds) {
            echo $queue->getConnection()->push(new Nap((float) $seconds)), "\n";
        }
        break;
    case 'work':
        $options = new WorkerOptions(sleep: 0.2, maxTries: (int) ($given[1] ?? 5));
        $worker = new Worker($queue->getQueueManager(), $container['events'], new Told(), fn () => false);
        exit($worker->daemon('default', 'default', $options));
}
