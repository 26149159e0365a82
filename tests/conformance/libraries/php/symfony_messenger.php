<?php

/**
 * Symfony Messenger on Doctrine without the framework around it: schema, sender and worker are its own.
 *
 *     php symfony_messenger.php create | enqueue SECONDS... | work [REDELIVER_TIMEOUT]
 *
 * The database is the one of libpq's environment variables. Ids are printed, one a line.
 */

require 'Symfony/Component/Messenger/autoload.php';
require 'Symfony/Component/EventDispatcher/autoload.php';
require 'Doctrine/DBAL/autoload.php';

use Doctrine\DBAL\DriverManager;
use Symfony\Component\EventDispatcher\EventDispatcher;
use Symfony\Component\Messenger\Bridge\Doctrine\Transport\DoctrineTransport;
use Symfony\Component\Messenger\Bridge\Doctrine\Transport\PostgreSqlConnection;
use Symfony\Component\Messenger\Envelope;
use Symfony\Component\Messenger\Event\WorkerMessageReceivedEvent;
use Symfony\Component\Messenger\Handler\HandlersLocator;
use Symfony\Component\Messenger\MessageBus;
use Symfony\Component\Messenger\Middleware\HandleMessageMiddleware;
use Symfony\Component\Messenger\Stamp\TransportMessageIdStamp;
use Symfony\Component\Messenger\Transport\Serialization\PhpSerializer;
use Symfony\Component\Messenger\Worker;

class Nap
{
    public function __construct(public float $seconds)
    {
    }
}

[, $command] = $argv;
$given = array_slice($argv, 2);

$database = DriverManager::getConnection([
    'driver' => 'pdo_pgsql',
    'host' => getenv('PGHOST'),
    'port' => getenv('PGPORT'),
    'dbname' => getenv('PGDATABASE'),
    'user' => getenv('PGUSER'),
    'password' => getenv('PGPASSWORD') ?: null,
]);
// What is notified between finding the queue empty and listening is lost; the default looks again after 60 s.
$options = ['auto_setup' => false, 'check_delayed_interval' => 500];
if ($command === 'work' && $given) {
    $options['redeliver_timeout'] = (int) $given[0];
}
$connection = new PostgreSqlConnection(
    PostgreSqlConnection::buildConfiguration('doctrine://default', $options),
    $database
);
$transport = new DoctrineTransport($connection, new PhpSerializer());

switch ($command) {
    case 'create':
        $transport->setup();
        break;
    case 'enqueue':
        foreach ($given as $seconds) {
            $sent = $transport->send(new Envelope(new Nap((float) $seconds)));
            echo $sent->last(TransportMessageIdStamp::class)->getId(), "\n";
        }
        break;
    case 'work':
        $id = null;
        $events = new EventDispatcher();
        $events->addListener(WorkerMessageReceivedEvent::class, function ($event) use (&$id) {
            $id = $event->getEnvelope()->last(TransportMessageIdStamp::class)->getId();
        });
        $handle = function (Nap $nap) use (&$id, $database) {
            usleep((int) ($nap->seconds * 1e6));
            $database->insert('conformance_done', ['id' => $id, 'pid' => getmypid()]);
        };
        $bus = new MessageBus([new HandleMessageMiddleware(new HandlersLocator([Nap::class => [$handle]]))]);
        (new Worker(['default' => $transport], $bus, $events))->run(['sleep' => 200000]);
}
